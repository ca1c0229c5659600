-- Between which AS goes most?
-- group: NOC
-- reads: as_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    src_as,
    network_of_as(src_as) AS source,
    dst_as,
    network_of_as(dst_as) AS destination,
    sum(a.octets_est) AS octets
FROM as_5m AS a
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
GROUP BY src_as, dst_as
ORDER BY octets DESC, src_as, dst_as
LIMIT 10
