-- Octets by service bucket, by flow end: a closed bucket changes only by data that came late.
INSERT INTO bucket_end_5m
    (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket,
     flows, packets, packets_est, octets, octets_est)
SELECT
    toStartOfFiveMinutes(minute) AS time,
    exporter, service, segment, access, sub_group, ip_version, direction, bucket,
    sum(flows_), sum(packets_), sum(packets_est_), sum(octets_), sum(octets_est_)
FROM {flow_range}
WHERE {range} AND kind IN (0, 2) AND NOT elsewhere
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
