-- How many bits a second go in and out, by service bucket?
-- group: NOC
-- reads: bucket_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    time,
    direction_of(b.direction) AS way,
    bucket,
    sum(b.octets_est) * 8 / 300 AS bits_per_second
FROM bucket_5m AS b
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
GROUP BY time, way, bucket
ORDER BY time, way, bucket
