-- Which ports carry most?
-- group: NOC
-- reads: port_1h
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    concat(protocol_of(proto), if(proto IN (6, 17), concat('/', toString(lower_port)), '')) AS port,
    octets,
    share
FROM
(
    -- By numbers, and only the ten get a name: a text for each port would cost more than all the rest.
    SELECT
        proto, lower_port,
        sum(p.octets_est) AS octets,
        share_of(octets, sum(octets) OVER ()) AS share
    FROM port_1h AS p
    WHERE hour >= {since:DateTime('UTC')} AND hour < {until:DateTime('UTC')} AND p.direction > 0
    GROUP BY proto, lower_port
    ORDER BY octets DESC, proto, lower_port
    LIMIT 10
)
ORDER BY octets DESC, port
