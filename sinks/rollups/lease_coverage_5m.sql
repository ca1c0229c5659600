-- What the leases said of an exporter's flows, by flow end.  Rows with prefix '' are the whole; the others are the
-- largest prefixes of its unmatched part: of the end that is ours where a direction is known, else of both ends.
INSERT INTO lease_coverage_5m
    (time, exporter, prefix, flows, octets_est, attributed_flows, attributed_octets_est,
     ambiguous_flows, ambiguous_octets_est, unmatched_flows, unmatched_octets_est)
SELECT
    time, exporter,
    if(bits = 0, '', concat(
        replaceRegexpOne(IPv6NumToString(CAST(toUInt128(whole) AS IPv6)), '^::ffff:([0-9.]+)$', '\\1'), if(bits = 120, '/24', '/48')
    )) AS prefix,
    flows_, octets_, attributed, attributed_octets, ambiguous, ambiguous_octets, unmatched, unmatched_octets
FROM
(
    SELECT
        time, exporter, toUInt8(0) AS bits, toUInt128(0) AS whole,
        sum(n) AS flows_, sum(o) AS octets_,
        sumIf(n, said = 0) AS attributed, sumIf(o, said = 0) AS attributed_octets,
        sumIf(n, said = 1) AS ambiguous, sumIf(o, said = 1) AS ambiguous_octets,
        sumIf(n, said = 2) AS unmatched, sumIf(o, said = 2) AS unmatched_octets
    FROM
    (
        SELECT
            toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time, exporter,
            -- Ambiguous: another lease claims the address too (128).
            multiIf(sub_id = 0, 2, bitAnd(flags, 128) != 0, 1, 0) AS said,
            toInt64(count()) AS n, sum(octets_est) AS o
        FROM flows
        WHERE {where}
            -- Implausible (8), of unknown sampling (16) and counted at another exporter (512): in no service's figure.
            AND bitAnd(flags, 536) = 0
            AND copy != 1
        GROUP BY time, exporter, said
    )
    GROUP BY time, exporter
    UNION ALL
    SELECT time, exporter, bits, whole, 0, 0, 0, 0, 0, 0, unmatched, unmatched_octets
    FROM
    (
        SELECT
            time, exporter,
            -- IPv4 is ::ffff:0:0/96 here: /24 is 120 bits.
            if(bitShiftRight(address, 32) = 0xFFFF, 120, 48) AS bits,
            bitAnd(address, bitShiftLeft(toUInt128(-1), 128 - bits)) AS whole,
            sum(flows__) AS unmatched, sum(octets__) AS unmatched_octets
        FROM
        (
            SELECT
                toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time, exporter,
                arrayJoin(multiIf(direction = 1, [toUInt128(src_addr)], direction = 2, [toUInt128(dst_addr)],
                    [toUInt128(src_addr), toUInt128(dst_addr)])) AS address,
                toInt64(count()) AS flows__, sum(octets_est) AS octets__
            FROM flows
            WHERE {where}
                AND bitAnd(flags, 536) = 0
                AND copy != 1
                AND sub_id = 0
            GROUP BY time, exporter, address
        )
        GROUP BY time, exporter, bits, whole
        -- More are of no use to who looks for a missing lease, and a scan of the Internet would fill the table.
        ORDER BY unmatched_octets DESC, whole
        LIMIT 200 BY time, exporter
    )
)
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
