-- What an exporter reports, by flow end, and how far it can be used: every row of raw is in one of its figures.
INSERT INTO exporter_1m
    (time, exporter, flows, packets, packets_est, octets, octets_est,
     unmatched_flows, unmatched_octets_est, unknown_rate_flows, unknown_rate_octets, implausible_flows,
     other_point_flows, other_point_octets_est, flagged_flows, min_sampling, max_sampling, sampling_sources)
WITH
    -- Implausible (3) before unknown sampling (4): a row is one of the three.
    kind IN (0, 2) AS sound
SELECT
    minute AS time,
    exporter,
    sumIf(flows_, sound), sumIf(packets_, sound), sumIf(packets_est_, sound), sumIf(octets_, sound), sumIf(octets_est_, sound),
    sumIf(flows_, sound AND said = 2), sumIf(octets_est_, sound AND said = 2),
    sumIf(flows_, kind = 4), sumIf(octets_, kind = 4), sumIf(flows_, kind = 3),
    -- Of the sound ones, those whose service is counted at another exporter.
    sumIf(flows_, sound AND elsewhere), sumIf(octets_est_, sound AND elsewhere),
    sumIf(flows_, flagged), min(min_sampling_), max(max_sampling_), groupBitOr(sampling_sources_)
FROM {flow_range}
WHERE {range} AND kind != 1 AND NOT second
GROUP BY time, exporter
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
