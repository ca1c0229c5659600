-- Where do the sampling intervals come from?
-- assumed: this exporter never said anything of sampling. unknown: it named a sampler nobody told of.
-- group: trust
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT exporter, sampling_source, sampling, count() AS flow_rows, sum(f.octets_est) AS octets
FROM v_flows AS f
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND copy <> 1
GROUP BY exporter, sampling_source, sampling
ORDER BY exporter, flow_rows DESC, sampling_source, sampling
