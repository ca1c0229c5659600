-- What is QUIC's share by service, and what was it in the same time last week?
-- IPoE has no port data and is left out. A site without directions leaves out that condition.
-- group: NOC
-- reads: bucket_end_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    service,
    quic_of_all(bucket, now_octets) AS q1_of_all,
    quic_of_443(bucket, now_octets) AS q2_of_443,
    quic_of_udp(bucket, now_octets) AS q3_of_udp,
    quic_of_443(bucket, week_octets) AS q2_last_week,
    q2_of_443 - q2_last_week AS q2_change
FROM
(
    SELECT
        service,
        bucket,
        sumIf(b.octets_est, time >= {since:DateTime('UTC')}) AS now_octets,
        sumIf(b.octets_est, time < {until:DateTime('UTC')} - INTERVAL 7 DAY) AS week_octets
    FROM bucket_end_5m AS b
    WHERE (time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
            OR time >= {since:DateTime('UTC')} - INTERVAL 7 DAY AND time < {until:DateTime('UTC')} - INTERVAL 7 DAY)
        AND b.direction > 0 AND access <> 'ipoe'
    GROUP BY service, bucket
)
GROUP BY service
HAVING sum(now_octets) > 0
ORDER BY service
