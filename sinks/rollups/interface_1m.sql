-- Octets by interface and minute, spread.  A flow counts twice: at the interface it came in by (direction 1) and at
-- the one it left by (2); interface 0 is one that the exporter does not name.
INSERT INTO interface_1m
    (time, exporter, interface, direction, flows, packets, packets_est, octets, octets_est)
SELECT
    minute AS time,
    exporter,
    end.1 AS interface,
    end.2 AS direction,
    sum(flows_), sum(packets_), sum(packets_est_), sum(octets_), sum(octets_est_)
FROM
(
    SELECT
        minute, exporter, flows_, packets_, packets_est_, octets_, octets_est_,
        arrayJoin([(in_if, toUInt8(1)), (out_if, toUInt8(2))]) AS end
    FROM {flow_range}
    WHERE {range} AND kind IN (0, 1) AND NOT second
)
GROUP BY time, exporter, interface, direction
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
