-- The spread, once for all rollups that have it: octets by minute, bucket and interfaces, as rows of three kinds.
--   0  flows of up to 60 s, in the minute in which they ended
--   1  what longer flows carried in each of the minutes of [ts_start, ts): else one report of a 30-minute flow is a
--      spike above the link's speed
--   2  the same longer flows whole, in the minute in which they ended
-- Kinds 0 and 1 are the spread figures, 0 and 2 those by flow end.  Interfaces leave out the second row of a flow
-- between two subscribers; services leave out what is counted at another exporter (512).
SELECT
    -- A longer time is no flow's (the collector bounds it at 1 h by default): such a row counts at its end.
    if(ts > ts_start + INTERVAL 60 SECOND AND ts <= ts_start + INTERVAL 1 DAY, 2, 0) AS kind,
    toStartOfMinute(toDateTime(ts, 'UTC')) AS minute,
    exporter, in_if, out_if, service, segment, access, sub_group, ip_version, direction, bucket,
    copy = 1 AS second,
    bitAnd(flags, 512) != 0 AS elsewhere,
    count() AS flows_, sum(packets) AS packets_, sum(packets_est) AS packets_est_,
    sum(octets) AS octets_, sum(octets_est) AS octets_est_
FROM flows
WHERE {where}
    -- Implausible (8) and of unknown sampling (16): in no share and no volume.
    AND bitAnd(flags, 24) = 0
GROUP BY kind, minute, exporter, in_if, out_if, service, segment, access, sub_group, ip_version, direction, bucket, second, elsewhere
UNION ALL
WITH
    -- What had come by a moment is value * moment / lasted, rounded down.  The product wants 128 bits; with
    -- value = whole * lasted + rest it is whole * moment + rest * moment / lasted, exact and within 64.
    (value, moment) -> intDiv(value, lasted) * moment + intDiv((value % lasted) * moment, lasted) AS come,
    -- What had come by the end of the minute less what had come by its start: a flow's shares sum to its value.
    value -> come(value, until) - come(value, since) AS share
SELECT
    1 AS kind,
    toDateTime(number * 60, 'UTC') AS minute,
    exporter, in_if, out_if, service, segment, access, sub_group, ip_version, direction, bucket, second, elsewhere,
    -- A flow counts once, in its first minute.
    countIf(since = 0),
    sum(share(packets)), sum(share(packets_est)), sum(share(octets)), sum(share(octets_est))
FROM
(
    SELECT
        exporter, in_if, out_if, service, segment, access, sub_group, ip_version, direction, bucket,
        copy = 1 AS second,
        bitAnd(flags, 512) != 0 AS elsewhere,
        packets, packets_est, octets, octets_est,
        toUnixTimestamp64Milli(ts_start) AS began,
        toUnixTimestamp64Milli(ts) AS ended,
        ended - began AS lasted,
        arrayJoin(range(intDiv(began, 60000), intDiv(ended - 1, 60000) + 1)) AS number,
        greatest(number * 60000 - began, 0) AS since,
        least((number + 1) * 60000 - began, lasted) AS until
    FROM flows
    WHERE {where}
        AND bitAnd(flags, 24) = 0
        AND ts > ts_start + INTERVAL 60 SECOND AND ts <= ts_start + INTERVAL 1 DAY
)
GROUP BY minute, exporter, in_if, out_if, service, segment, access, sub_group, ip_version, direction, bucket, second, elsewhere
