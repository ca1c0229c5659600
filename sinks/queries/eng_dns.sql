-- How much DNS is there, by hour and transport?
-- group: engineers
-- reads: port_1h
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    hour,
    protocol_of(proto) AS protocol,
    direction_of(p.direction) AS way,
    sum(p.flows) AS flow_rows,
    sum(p.octets_est) AS octets,
    -- Many octets a packet in one direction only: amplification.
    share_of(octets, sum(p.packets_est)) AS octets_per_packet
FROM port_1h AS p
WHERE hour >= {since:DateTime('UTC')} AND hour < {until:DateTime('UTC')} AND lower_port = 53 AND proto IN (6, 17)
GROUP BY hour, protocol, way
ORDER BY hour, protocol, way
