-- What was dropped on the way, and where?
-- dropped_datagrams_kernel: a larger net.core.rmem_max. lost_: what a kill cost.
-- group: trust
-- reads: stage_1m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT stage, counter, sum(s.value) AS dropped, min(time) AS since, max(time) AS until
FROM stage_1m AS s
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
    AND (startsWith(counter, 'dropped_') OR startsWith(counter, 'lost_'))
GROUP BY stage, counter
HAVING dropped > 0
ORDER BY dropped DESC, stage, counter
