-- Octets by subscriber and local day, by flow end.
INSERT INTO subscriber_1d
    (day, sub_id, service, segment, access, direction, flows, packets, packets_est, octets, octets_est)
WITH {known service segment access}
SELECT day, sub_id, {labels service segment access}, direction, flows_, packets_, packets_est_, octets_, octets_est_
FROM
(
    SELECT
        toDate(ts, '{timezone}') AS day,
        sub_id, {code service segment access} AS code, direction,
        count() AS flows_, sum(packets) AS packets_, sum(packets_est) AS packets_est_,
        sum(octets) AS octets_, sum(octets_est) AS octets_est_
    FROM flows
    WHERE {where}
        -- Implausible (8), of unknown sampling (16) and counted at another exporter (512): in no service's figure.
        AND bitAnd(flags, 536) = 0
        AND sub_id <> 0
    GROUP BY day, sub_id, code, direction
)
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY day
