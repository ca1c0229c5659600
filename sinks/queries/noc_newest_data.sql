-- How old is the newest data of each service?
-- now is now() in daily use. More than 180 s: look at the stages. No row: nothing for a day.
-- group: NOC
-- reads: bucket_1m
-- example: now = 2026-09-21 14:02:00
SELECT
    service,
    max(time) AS newest,
    -- The minute ends 60 s after it began.
    dateDiff('second', newest, {now:DateTime('UTC')}) - 60 AS age_seconds
FROM bucket_1m
WHERE time > {now:DateTime('UTC')} - INTERVAL 1 DAY AND time <= {now:DateTime('UTC')}
GROUP BY service
ORDER BY age_seconds DESC, service
