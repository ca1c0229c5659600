-- Octets by subscriber and local day, by flow end.
INSERT INTO subscriber_1d
    (day, sub_id, service, segment, access, direction, flows, packets, packets_est, octets, octets_est)
SELECT
    toDate(ts, '{timezone}') AS day,
    sub_id, service, segment, access, direction,
    count(), sum(packets), sum(packets_est), sum(octets), sum(octets_est)
FROM flows
WHERE {where}
    -- Implausible (8), of unknown sampling (16) and counted at another exporter (512): in no service's figure.
    AND bitAnd(flags, 536) = 0
    AND sub_id <> 0
GROUP BY day, sub_id, service, segment, access, direction
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY day
