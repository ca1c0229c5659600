-- Octets by source and destination AS, by flow end.
INSERT INTO as_5m
    (time, src_as, dst_as, flows, packets, packets_est, octets, octets_est)
SELECT
    toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time,
    src_as, dst_as,
    count(), sum(packets), sum(packets_est), sum(octets), sum(octets_est)
FROM flows
WHERE {where}
    -- Implausible (8), of unknown sampling (16) and counted at another exporter (512): in no service's figure.
    AND bitAnd(flags, 536) = 0
    AND copy != 1
GROUP BY time, src_as, dst_as
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
