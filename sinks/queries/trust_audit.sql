-- Did every decoded row reach the store?
-- Lacking rows of the last minute are on their way; flowtide doctor --audit says why others are.
-- group: trust
-- reads: audit_1m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    toStartOfFiveMinutes(a.time) AS from_time,
    sumIf(a.rows, stage = 'decoded') AS decoded,
    sumIf(a.rows, stage = 'published') AS published,
    sumIf(a.rows, stage = 'enriched') AS enriched,
    sumIf(a.rows, stage = 'inserted') AS inserted,
    decoded - inserted AS lacking
FROM audit_1m AS a
WHERE a.time >= {since:DateTime('UTC')} AND a.time < {until:DateTime('UTC')}
GROUP BY from_time
ORDER BY from_time
