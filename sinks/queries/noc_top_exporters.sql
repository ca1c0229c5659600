-- Which exporters carry most, and what is their part of the whole?
-- group: NOC
-- reads: exporter_1m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    exporter,
    sum(e.flows) AS flow_rows,
    sum(e.octets_est) * 8 / dateDiff('second', {since:DateTime('UTC')}, {until:DateTime('UTC')}) AS bits_per_second,
    share_of(sum(e.octets_est), sum(sum(e.octets_est)) OVER ()) AS share
FROM exporter_1m AS e
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
GROUP BY exporter
ORDER BY bits_per_second DESC, exporter
LIMIT 10
