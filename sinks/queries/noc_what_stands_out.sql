-- What differs most from the same time last week?
-- group: NOC
-- reads: bucket_end_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    service,
    direction_of(b.direction) AS way,
    bucket,
    sumIf(b.octets_est, time >= {since:DateTime('UTC')}) AS octets,
    sumIf(b.octets_est, time < {until:DateTime('UTC')} - INTERVAL 7 DAY) AS octets_last_week,
    octets - octets_last_week AS more,
    share_of(octets, octets_last_week) AS times
FROM bucket_end_5m AS b
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
    OR time >= {since:DateTime('UTC')} - INTERVAL 7 DAY AND time < {until:DateTime('UTC')} - INTERVAL 7 DAY
GROUP BY service, way, bucket
ORDER BY abs(more) DESC, service, way, bucket
LIMIT 10
