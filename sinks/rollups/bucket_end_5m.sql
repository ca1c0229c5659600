-- Octets by service bucket, by flow end: a closed bucket changes only by data that came late.
INSERT INTO bucket_end_5m
    (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket,
     flows, packets, packets_est, octets, octets_est)
SELECT
    toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time,
    exporter, service, segment, access, sub_group, ip_version, direction, bucket,
    count(), sum(packets), sum(packets_est), sum(octets), sum(octets_est)
FROM flows
WHERE {where}
    -- Implausible (8) and of unknown sampling (16): left out of shares.
    AND bitAnd(flags, 24) = 0
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
