-- The first step of all rollups by bucket, interface and exporter, once: octets by minute, labels and interfaces, as rows of
-- five kinds.
--   0  flows of up to 60 s, in the minute in which they ended
--   1  what longer flows carried in each of the minutes of [ts_start, ts): else one report of a 30-minute flow is a
--      spike above the link's speed
--   2  the same longer flows whole, in the minute in which they ended
--   3  implausible ones (8), at their end; 4  those of unknown sampling (16): in no share and no volume
-- Kinds 0 and 1 are the spread figures, 0 and 2 those by flow end.  Interfaces leave out the second row of a flow
-- between two subscribers; services leave out what is counted at another exporter (512).
--
-- Labels are grouped by as one number, the position of each among those of these rows, and are texts again at the end:
-- a key of numbers takes half the time of one with texts in it.
WITH {known exporter service segment access sub_group bucket}
SELECT
    bitAnd(marks, 7) AS kind, minute,
    {labels exporter service segment access sub_group bucket},
    in_if, out_if, ip_version, direction,
    bitTest(marks, 3) AS second, bitTest(marks, 4) AS elsewhere,
    flows_, packets_, packets_est_, octets_, octets_est_,
    -- What the leases said (0 attributed, 1 another lease claims the address too, 2 nobody); whether there is any flag.
    bitAnd(bitShiftRight(marks, 5), 3) AS said, bitTest(marks, 7) AS flagged,
    min_sampling_, max_sampling_, sampling_sources_
FROM
(
    SELECT
        -- A longer time is no flow's (the collector bounds it at 1 h by default): such a row counts at its end.
        toUInt8(
            multiIf(bitTest(flags, 3), 3, bitTest(flags, 4), 4,
                toUnixTimestamp64Milli(ts) - toUnixTimestamp64Milli(ts_start) BETWEEN 60001 AND 86400000, 2, 0)
            + 8 * (copy = 1) + 16 * bitTest(flags, 9) + 32 * multiIf(sub_id = 0, 2, bitTest(flags, 7), 1, 0)
            + 128 * (flags != 0)
        ) AS marks,
        toStartOfMinute(toDateTime(ts, 'UTC')) AS minute,
        {code exporter service segment access sub_group bucket} AS code,
        in_if, out_if, ip_version, direction,
        count() AS flows_, sum(packets) AS packets_, sum(packets_est) AS packets_est_,
        sum(octets) AS octets_, sum(octets_est) AS octets_est_,
        min(sampling) AS min_sampling_, max(sampling) AS max_sampling_,
        groupBitOr(bitShiftLeft(toUInt16(1), sampling_source)) AS sampling_sources_
    FROM flows
    WHERE {where}
    GROUP BY marks, minute, code, in_if, out_if, ip_version, direction
    UNION ALL
    WITH
        -- What had come by a moment is value * moment / lasted, rounded down.  The product wants 128 bits; with
        -- value = whole * lasted + rest it is whole * moment + rest * moment / lasted, exact and within 64.
        (value, moment) -> intDiv(value, lasted) * moment + intDiv((value % lasted) * moment, lasted) AS come,
        -- What had come by the end of the minute less what had come by its start: a flow's shares sum to its value.
        value -> come(value, until) - come(value, since) AS share
    SELECT
        marks,
        toDateTime(number * 60, 'UTC') AS minute,
        code, in_if, out_if, ip_version, direction,
        -- A flow counts once, in its first minute.
        countIf(since = 0),
        sum(share(packets)), sum(share(packets_est)), sum(share(octets)), sum(share(octets_est)), 0, 0, 0
    FROM
    (
        SELECT
            toUInt8(1 + 8 * (copy = 1) + 16 * bitTest(flags, 9)) AS marks,
            {code exporter service segment access sub_group bucket} AS code,
            in_if, out_if, ip_version, direction,
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
            AND toUnixTimestamp64Milli(ts) - toUnixTimestamp64Milli(ts_start) BETWEEN 60001 AND 86400000
    )
    GROUP BY marks, minute, code, in_if, out_if, ip_version, direction
)
