-- Octets by service bucket and local hour, spread: what bucket_1m says, summed.  A minute lies in one hour of any zone.
INSERT INTO bucket_1h
    (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket,
     flows, packets, packets_est, octets, octets_est)
SELECT
    toTimezone(toStartOfHour(toTimezone(minute, '{timezone}')), 'UTC') AS time,
    exporter, service, segment, access, sub_group, ip_version, direction, bucket,
    sum(flows_), sum(packets_), sum(packets_est_), sum(octets_), sum(octets_est_)
FROM {flow_range}
WHERE {range} AND kind IN (0, 1) AND NOT elsewhere
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
