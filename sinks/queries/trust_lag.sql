-- How far behind is each stage?
-- By minutes, of arrival; rolled up: of the flows. A stage much older than the one before it stands still.
-- group: trust
-- reads: audit_1m, bucket_1m
-- example: now = 2026-09-21 14:02:00
SELECT stage, newest, dateDiff('second', newest, {now:DateTime('UTC')}) AS age_seconds
FROM
(
    SELECT toString(stage) AS stage, max(time) AS newest
    FROM audit_1m
    WHERE time > {now:DateTime('UTC')} - INTERVAL 1 DAY AND time <= {now:DateTime('UTC')}
    GROUP BY stage
    UNION ALL
    SELECT 'rolled up' AS stage, max(time) AS newest
    FROM bucket_1m
    WHERE time > {now:DateTime('UTC')} - INTERVAL 1 DAY AND time <= {now:DateTime('UTC')}
    HAVING count() > 0
)
ORDER BY age_seconds, stage
