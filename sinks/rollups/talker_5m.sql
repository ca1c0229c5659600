-- The addresses and prefixes with most octets, by flow end; a flow counts for its source (side 1) and its destination
-- (side 2).
--
-- Flows come in pieces, and the 1,000 largest of a piece are not those of the bucket.  So what a piece leaves out is
-- summed as 'other' (length 0), together with the largest figure it left out of each length (cut).  All rows of
-- a length sum to the whole, always; a figure lacks at most sum(cut), so whoever carried more than sum(cut) is there,
-- and the order of two is certain when they are further apart.
INSERT INTO talker_5m
    (time, side, kind, prefix, length, flows, packets, packets_est, octets, octets_est, cut)
SELECT
    time, side, if(kind = 1, 'address', 'prefix'), prefix, length,
    sum(flows_), sum(packets_), sum(packets_est_), sum(octets_), sum(octets_est_),
    if(length = 0, max(octets_est_), 0) AS cut
FROM
(
    SELECT
        time, side, kind,
        row_number() OVER (PARTITION BY time, side, kind ORDER BY octets_est_ DESC, whole) <= 1000 AS kept,
        if(kept, whole, toIPv6('::')) AS prefix,
        if(kept, bits, 0) AS length,
        flows_, packets_, packets_est_, octets_, octets_est_
    FROM
    (
        SELECT
            time, side, item.1 AS kind, item.2 AS whole, item.3 AS bits,
            sum(flows__) AS flows_, sum(packets__) AS packets_, sum(packets_est__) AS packets_est_,
            sum(octets__) AS octets_, sum(octets_est__) AS octets_est_
        -- Numbers only: keys of a fixed length are cheaper than texts.
        FROM
        (
            SELECT
                time, side, flows__, packets__, packets_est__, octets__, octets_est__,
                -- IPv4 is ::ffff:0:0/96 here: /24 is 120 bits.
                if(address >= toIPv6('::ffff:0.0.0.0') AND address <= toIPv6('::ffff:255.255.255.255'), 120, 48) AS long,
                arrayJoin([
                    (toUInt8(1), address, toUInt8(128)),
                    (toUInt8(2), tupleElement(IPv6CIDRToRange(address, long), 1), toUInt8(long))
                ]) AS item
            FROM
            (
                SELECT
                    toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time, toUInt8(1) AS side, src_addr AS address,
                    count() AS flows__, sum(packets) AS packets__, sum(packets_est) AS packets_est__,
                    sum(octets) AS octets__, sum(octets_est) AS octets_est__
                FROM flows
                WHERE {where}
                    -- Implausible (8), of unknown sampling (16) and counted at another exporter (512): in no service's figure.
                    AND bitAnd(flags, 536) = 0
                    AND copy != 1
                GROUP BY time, address
                UNION ALL
                SELECT
                    toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time, toUInt8(2) AS side, dst_addr AS address,
                    count(), sum(packets), sum(packets_est), sum(octets), sum(octets_est)
                FROM flows
                WHERE {where}
                    AND bitAnd(flags, 536) = 0
                    AND copy != 1
                GROUP BY time, address
            )
        )
        GROUP BY time, side, kind, whole, bits
    )
)
GROUP BY time, side, kind, prefix, length
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
