-- Octets by lower port and local hour, by flow end.
INSERT INTO port_1h
    (hour, service, segment, access, ip_version, direction, proto, lower_port, bucket,
     flows, packets, packets_est, octets, octets_est)
WITH
    -- Only TCP and UDP have a port (ICMP has its type in the port field); the others have their bucket.
    proto IN (6, 17) AS has_port
SELECT
    toTimezone(toStartOfHour(toDateTime(ts, '{timezone}')), 'UTC') AS hour,
    service, segment, access, ip_version, direction, proto,
    if(has_port, flows.lower_port, 0) AS port,
    if(has_port, '', flows.bucket) AS no_port,
    count(), sum(packets), sum(packets_est), sum(octets), sum(octets_est)
FROM flows
WHERE {where}
    -- Implausible (8) and of unknown sampling (16): left out of shares.
    AND bitAnd(flags, 24) = 0
GROUP BY hour, service, segment, access, ip_version, direction, proto, port, no_port
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY hour
