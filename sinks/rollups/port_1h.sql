-- Octets by lower port and local hour, by flow end.
INSERT INTO port_1h
    (hour, service, segment, access, ip_version, direction, proto, lower_port, bucket,
     flows, packets, packets_est, octets, octets_est)
SELECT
    hour, service, segment, access, ip_version, direction, proto, port, no_port,
    flows_, packets_, packets_est_, octets_, octets_est_
FROM {port_range}
WHERE {range}
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY hour
