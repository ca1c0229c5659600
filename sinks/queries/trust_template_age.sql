-- When did each exporter last send its templates?
-- NetFlow v5 and sFlow have none.
-- group: trust
-- reads: exporter_health_1m
-- example: now = 2026-09-21 14:02:00
SELECT
    exporter,
    domain,
    -- The counter's minute; NULL when none came within a day.
    maxIfOrNull(time, counter = 'templates_accepted') AS last_template,
    dateDiff('second', last_template, {now:DateTime('UTC')}) AS age_seconds,
    sumIf(h.value, counter = 'sets_held') AS sets_that_waited
FROM exporter_health_1m AS h
WHERE time > {now:DateTime('UTC')} - INTERVAL 1 DAY AND time <= {now:DateTime('UTC')}
GROUP BY exporter, domain
ORDER BY age_seconds DESC NULLS FIRST, exporter, domain
