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
    time, side, if(kind = 1, 'address', 'prefix'),
    CAST(toUInt128(row.2) AS IPv6) AS prefix, row.3 AS length,
    row.4, row.5, row.6, row.7, -row.1, row.8 AS cut
FROM
(
    SELECT
        time, side, kind,
        -- One more than is kept: the largest figure of what is left out.  (Ranking all of them in a window cost as much as
        -- all the rest.)
        groupArraySorted(1001)((-octets_est_, whole, bits, flows_, packets_, packets_est_, octets_)) AS largest,
        arraySlice(largest, 1, 1000) AS kept,
        arrayJoin(arrayConcat(
            arrayMap(row -> (row.1, row.2, row.3, row.4, row.5, row.6, row.7, toInt64(0)), kept),
            if(length(largest) <= 1000, [], [(
                -sum(octets_est_) - arraySum(kept.1), toUInt128(0), toUInt8(0),
                sum(flows_) - arraySum(kept.4), sum(packets_) - arraySum(kept.5),
                sum(packets_est_) - arraySum(kept.6), sum(octets_) - arraySum(kept.7), -largest[1001].1
            )])
        )) AS row
    FROM
    (
        SELECT
            time, side, kind, bits, whole,
            toInt64(sum(flows__)) AS flows_, sum(packets__) AS packets_, sum(packets_est__) AS packets_est_,
            sum(octets__) AS octets_, sum(octets_est__) AS octets_est_
        FROM
        (
            SELECT
                time, side, flows__, packets__, packets_est__, octets__, octets_est__,
                toUInt8(arrayJoin([1, 2])) AS kind,
                -- IPv4 is ::ffff:0:0/96 here: /24 is 120 bits.
                if(kind = 1, 128, if(bitShiftRight(address, 32) = 0xFFFF, 120, 48)) AS bits,
                bitAnd(address, bitShiftLeft(toUInt128(-1), 128 - bits)) AS whole
            FROM
            (
                -- Addresses are numbers until the end: keys of a fixed length are cheaper than texts.
                SELECT
                    toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time, toUInt8(1) AS side, toUInt128(src_addr) AS address,
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
                    toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time, toUInt8(2) AS side, toUInt128(dst_addr) AS address,
                    count(), sum(packets), sum(packets_est), sum(octets), sum(octets_est)
                FROM flows
                WHERE {where}
                    AND bitAnd(flags, 536) = 0
                    AND copy != 1
                GROUP BY time, address
            )
        )
        GROUP BY time, side, kind, bits, whole
    )
    GROUP BY time, side, kind
)
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
