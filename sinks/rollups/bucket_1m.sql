-- Octets by service bucket and minute, spread: a flow longer than 60 s is shared out over the minutes of
-- [ts_start, ts), else one report of a 30-minute flow is a spike above the link's speed.
INSERT INTO bucket_1m
    (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket,
     flows, packets, packets_est, octets, octets_est)
SELECT *
FROM
(
    WITH
        -- A longer time is no flow's (the collector bounds it at 1 h by default): such a row counts at its end.
        ts > ts_start + INTERVAL 60 SECOND AND ts <= ts_start + INTERVAL 1 DAY AS long
    SELECT
        toStartOfMinute(toDateTime(ts, 'UTC')) AS time,
        exporter, service, segment, access, sub_group, ip_version, direction, bucket,
        count(), sum(packets), sum(packets_est), sum(octets), sum(octets_est)
    FROM flows
    WHERE {where}
        -- Implausible (8) and of unknown sampling (16): left out of shares.
        AND bitAnd(flags, 24) = 0
        AND NOT long
    GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket
    UNION ALL
    WITH
        -- What had come by a moment is value * moment / lasted, rounded down.  The product wants 128 bits; with
        -- value = whole * lasted + rest it is whole * moment + rest * moment / lasted, exact and within 64.
        (value, moment) -> intDiv(value, lasted) * moment + intDiv((value % lasted) * moment, lasted) AS come,
        -- What had come by the end of the minute less what had come by its start: a flow's shares sum to its value.
        value -> come(value, until) - come(value, since) AS share
    SELECT
        toDateTime(minute * 60, 'UTC') AS time,
        exporter, service, segment, access, sub_group, ip_version, direction, bucket,
        -- A flow counts once, in its first minute.
        countIf(since = 0),
        sum(share(packets)), sum(share(packets_est)), sum(share(octets)), sum(share(octets_est))
    FROM
    (
        SELECT
            exporter, service, segment, access, sub_group, ip_version, direction, bucket,
            packets, packets_est, octets, octets_est,
            toUnixTimestamp64Milli(ts_start) AS began,
            toUnixTimestamp64Milli(ts) AS ended,
            ended - began AS lasted,
            arrayJoin(range(intDiv(began, 60000), intDiv(ended - 1, 60000) + 1)) AS minute,
            greatest(minute * 60000 - began, 0) AS since,
            least((minute + 1) * 60000 - began, lasted) AS until
        FROM flows
        WHERE {where}
            AND bitAnd(flags, 24) = 0
            AND ts > ts_start + INTERVAL 60 SECOND AND ts <= ts_start + INTERVAL 1 DAY
    )
    GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket
)
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
