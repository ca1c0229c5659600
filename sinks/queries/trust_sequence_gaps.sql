-- Which exporters' messages were missed?
-- share_missed holds for exporters that count records (IPFIX, v5); v9 counts messages.
-- group: trust
-- reads: exporter_health_1m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    exporter,
    domain,
    sumIf(h.value, counter = 'sequence_missed') AS missed,
    sumIf(h.value, counter = 'sequence_out_of_order') AS out_of_order,
    sumIf(h.value, counter = 'sequence_duplicate') AS duplicates,
    sumIf(h.value, counter = 'sequence_reset') AS resets,
    share_of(missed, missed + sumIf(h.value, counter = 'records_flow')) AS share_missed
FROM exporter_health_1m AS h
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
GROUP BY exporter, domain
HAVING missed + out_of_order + duplicates + resets > 0
ORDER BY missed DESC, exporter, domain
