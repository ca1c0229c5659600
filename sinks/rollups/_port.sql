-- Octets by lower port and local hour, by flow end: port_1h, of which port_1d is the sum.
WITH {known service segment access bucket}
SELECT hour, {labels service segment access}, ip_version, direction, proto, port, bucket_known[no_port_] AS no_port,
    flows_, packets_, packets_est_, octets_, octets_est_
FROM
(
    WITH
        -- Only TCP and UDP have a port (ICMP has its type in the port field); the others have their bucket.
        proto IN (6, 17) AS has_port
    SELECT
        toTimezone(toStartOfHour(toDateTime(ts, '{timezone}')), 'UTC') AS hour,
        {code service segment access} AS code,
        ip_version, direction, proto,
        if(has_port, flows.lower_port, 0) AS port,
        if(has_port, 0, toUInt32({code bucket} + 1)) AS no_port_,
        count() AS flows_, sum(packets) AS packets_, sum(packets_est) AS packets_est_,
        sum(octets) AS octets_, sum(octets_est) AS octets_est_
    FROM flows
    WHERE {where}
        -- Implausible (8), of unknown sampling (16) and counted at another exporter (512): in no service's figure.
        AND bitAnd(flags, 536) = 0
    GROUP BY hour, code, ip_version, direction, proto, port, no_port_
)
