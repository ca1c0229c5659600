-- Which interfaces carry most, and how full are they?
-- A mean over the whole time: minutes may be fuller. NULL where no speed was told.
-- group: NOC
-- reads: interface_1m, exporter_name
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    exporter,
    interface,
    any(i.name) AS known_as,
    direction,
    sum(i.octets_est) * 8 / dateDiff('second', {since:DateTime('UTC')}, {until:DateTime('UTC')}) AS bits_per_second,
    share_of(bits_per_second, any(i.speed)) AS full
FROM v_interfaces AS i
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
GROUP BY exporter, interface, direction
ORDER BY bits_per_second DESC, exporter, interface, direction
LIMIT 10
