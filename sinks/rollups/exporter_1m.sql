-- What an exporter reports, by flow end, and how far it can be used: every row of raw is in one of its figures.
INSERT INTO exporter_1m
    (time, exporter, flows, packets, packets_est, octets, octets_est,
     unmatched_flows, unmatched_octets_est, unknown_rate_flows, unknown_rate_octets, implausible_flows,
     other_point_flows, other_point_octets_est, flagged_flows, min_sampling, max_sampling, sampling_sources)
WITH
    -- Implausible (8) before unknown sampling (16): a row is one of the three.
    bitAnd(flows.flags, 8) != 0 AS implausible,
    NOT implausible AND bitAnd(flows.flags, 16) != 0 AS unknown,
    NOT implausible AND NOT unknown AS sound
SELECT
    toStartOfMinute(toDateTime(ts, 'UTC')) AS time,
    exporter,
    countIf(sound), sumIf(packets, sound), sumIf(packets_est, sound), sumIf(octets, sound), sumIf(octets_est, sound),
    countIf(sound AND sub_id = 0), sumIf(octets_est, sound AND sub_id = 0),
    countIf(unknown), sumIf(octets, unknown), countIf(implausible),
    -- Of the sound ones, those whose service is counted at another exporter (512).
    countIf(sound AND bitAnd(flows.flags, 512) != 0), sumIf(octets_est, sound AND bitAnd(flows.flags, 512) != 0),
    countIf(flows.flags != 0), min(sampling), max(sampling), groupBitOr(bitShiftLeft(toUInt16(1), sampling_source))
FROM flows
WHERE {where}
    AND copy != 1
GROUP BY time, exporter
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
