-- What part of each exporter's octets has a subscriber?
-- Ambiguous: two leases claim the address. Rows that count at another exporter are left out, as in all figures.
-- group: trust
-- reads: lease_coverage_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    exporter,
    sum(c.attributed_octets_est) AS attributed,
    sum(c.ambiguous_octets_est) AS ambiguous,
    sum(c.unmatched_octets_est) AS unmatched,
    share_of(attributed, attributed + ambiguous + unmatched) AS share_attributed,
    share_of(unmatched, attributed + ambiguous + unmatched) AS share_unmatched
FROM lease_coverage_5m AS c
-- The whole; the other rows break its unmatched part down.
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND prefix = ''
GROUP BY exporter
ORDER BY unmatched DESC, exporter
