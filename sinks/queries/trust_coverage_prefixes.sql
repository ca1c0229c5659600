-- Which prefixes lack leases?
-- The end that is ours where a direction is known (local_prefixes), else both ends: one of them should have had a lease.
-- group: trust
-- reads: lease_coverage_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    c.prefix AS prefix,
    arrayStringConcat(arraySort(groupUniqArray(exporter)), ', ') AS exporters,
    sum(c.unmatched_flows) AS unmatched_flows,
    sum(c.unmatched_octets_est) AS unmatched
FROM lease_coverage_5m AS c
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND prefix != ''
GROUP BY prefix
ORDER BY unmatched DESC, prefix
LIMIT 20
