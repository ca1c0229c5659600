-- Where the sampling intervals of an exporter come from, kept as long as the rest of its quality; 0 in older rows.
ALTER TABLE exporter_1m ADD COLUMN IF NOT EXISTS sampling_sources SimpleAggregateFunction(groupBitOr, UInt16);

CREATE OR REPLACE VIEW v_exporters AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets,
    sum(r.unmatched_flows) AS unmatched_flows,
    sum(r.unmatched_octets_est) AS unmatched_octets_est,
    sum(r.unknown_rate_flows) AS unknown_rate_flows,
    sum(r.unknown_rate_octets) AS unknown_rate_octets,
    sum(r.implausible_flows) AS implausible_flows,
    sum(r.other_point_flows) AS other_point_flows,
    sum(r.other_point_octets_est) AS other_point_octets_est,
    sum(r.flagged_flows) AS flagged_flows,
    min(r.min_sampling) AS min_sampling,
    max(r.max_sampling) AS max_sampling,
    arrayMap(bit -> transform(bit, [0, 1, 2, 3, 4, 5, 6, 7, 8],
        ['unknown', 'record', 'sampler', 'interface', 'domain', 'header', 'setting', 'override', 'assumed'],
        toString(bit)), bitPositionsToArray(groupBitOr(r.sampling_sources))) AS sampling_sources
FROM exporter_1m AS r
GROUP BY time, exporter;
