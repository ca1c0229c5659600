-- Which sampling intervals are in force, and how many rows have none?
-- smallest 0: rows without a rate. Two intervals in an hour: the device was changed.
-- group: trust
-- reads: exporter_1m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    exporter,
    min(e.min_sampling) AS smallest,
    max(e.max_sampling) AS largest,
    sum(e.unknown_rate_flows) AS without_rate,
    share_of(without_rate, without_rate + sum(e.flows)) AS share_without_rate
FROM exporter_1m AS e
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
GROUP BY exporter
ORDER BY exporter
