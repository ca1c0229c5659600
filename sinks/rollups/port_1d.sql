-- Octets by lower port and local day, by flow end: what port_1h says, summed.
INSERT INTO port_1d
    (day, service, segment, access, ip_version, direction, proto, lower_port, bucket,
     flows, packets, packets_est, octets, octets_est)
SELECT
    toDate(hour, '{timezone}') AS day,
    service, segment, access, ip_version, direction, proto, port, no_port,
    sum(flows_), sum(packets_), sum(packets_est_), sum(octets_), sum(octets_est_)
FROM {port_range}
WHERE {range}
GROUP BY day, service, segment, access, ip_version, direction, proto, port, no_port
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY day
