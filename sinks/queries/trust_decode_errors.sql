-- What could not be decoded, and why?
-- group: trust
-- reads: exporter_health_1m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    exporter,
    splitByString('_dropped_', counter)[1] AS what,
    splitByString('_dropped_', counter)[2] AS reason,
    sum(h.value) AS dropped
FROM exporter_health_1m AS h
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND position(counter, '_dropped_') > 0
GROUP BY exporter, what, reason
HAVING dropped > 0
ORDER BY dropped DESC, exporter, what, reason
