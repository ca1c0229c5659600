-- How much went over one port, day by day?
-- group: engineers
-- reads: port_1d
-- example: from = 2026-09-14, to = 2026-09-22, proto = 6, port = 22
SELECT
    day,
    direction_of(p.direction) AS way,
    sum(p.flows) AS flow_rows,
    sum(p.octets_est) AS octets
FROM port_1d AS p
WHERE day >= {from:Date} AND day < {to:Date} AND proto = {proto:UInt8} AND lower_port = {port:UInt16}
GROUP BY day, way
ORDER BY day, way
