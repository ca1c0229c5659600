-- Which exporters tell of the same flows (edge and core)?
-- Same five values and minute, two exporters. Choose one observation point a service, in the settings.
-- group: engineers
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    arrayStringConcat(exporters, ', ') AS told_by,
    count() AS same_flows,
    sum(extra_octets) AS octets_too_many
FROM
(
    SELECT
        arraySort(groupUniqArray(f.exporter)) AS exporters,
        sum(f.octets_est) - max(f.octets_est) AS extra_octets
    FROM v_flows AS f
    WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND copy = 0 AND sound
    GROUP BY toStartOfMinute(time), src_addr, dst_addr, src_port, dst_port, proto
    HAVING length(exporters) > 1
)
GROUP BY told_by
ORDER BY octets_too_many DESC, told_by
