-- What the leases said of an exporter's flows, by flow end.  Rows with prefix '' are the whole; the others are the
-- largest prefixes of its unmatched part: of the end that is ours where a direction is known, else of both ends.
INSERT INTO lease_coverage_5m
    (time, exporter, prefix, flows, octets_est, attributed_flows, attributed_octets_est,
     ambiguous_flows, ambiguous_octets_est, unmatched_flows, unmatched_octets_est)
WITH {known exporter},
    -- A /24 or /48 as one number, with bit 63 of IPv4 (::ffff:0:0/96 here) and bit 62 of IPv6: grouped by at once, in
    -- two thirds of the time that addresses take.
    address -> if(bitShiftRight(address, 32) = 0xFFFF,
        bitOr(toUInt64(bitShiftRight(address, 8)), 0x8000000000000000),
        bitOr(toUInt64(bitShiftRight(address, 80)), 0x4000000000000000)) AS network
SELECT
    time, exporter,
    if(bits = 0, '', concat(
        replaceRegexpOne(IPv6NumToString(CAST(toUInt128(whole) AS IPv6)), '^::ffff:([0-9.]+)$', '\\1'), if(bits = 120, '/24', '/48')
    )) AS prefix,
    sum(flows__), sum(octets__), sum(attributed), sum(attributed_octets), sum(ambiguous), sum(ambiguous_octets),
    sum(unmatched), sum(unmatched_octets)
FROM
(
    SELECT
        toStartOfFiveMinutes(minute) AS time, exporter, toUInt8(0) AS bits, toUInt128(0) AS whole,
        toInt64(sum(flows_)) AS flows__, sum(octets_est_) AS octets__,
        toInt64(sumIf(flows_, said = 0)) AS attributed, sumIf(octets_est_, said = 0) AS attributed_octets,
        -- Another lease claims the address too.
        toInt64(sumIf(flows_, said = 1)) AS ambiguous, sumIf(octets_est_, said = 1) AS ambiguous_octets,
        toInt64(sumIf(flows_, said = 2)) AS unmatched, sumIf(octets_est_, said = 2) AS unmatched_octets
    FROM {flow_range}
    WHERE {range} AND kind IN (0, 2) AND NOT elsewhere AND NOT second
    GROUP BY time, exporter
    UNION ALL
    SELECT time, exporter_known[code + 1], bits, whole, 0, 0, 0, 0, 0, 0, unmatched, unmatched_octets
    FROM
    (
        SELECT
            time, code,
            arrayJoin(arrayFilter(net -> net != 0, [source, destination])) AS net,
            if(bitTest(net, 63), 120, 48) AS bits,
            if(bitTest(net, 63), bitShiftLeft(toUInt128(bitAnd(net, 0xFFFFFFFFFF)), 8),
                bitShiftLeft(toUInt128(bitAnd(net, 0xFFFFFFFFFFFF)), 80)) AS whole,
            toInt64(sum(flows_)) AS unmatched, sum(octets_est_) AS unmatched_octets
        FROM
        (
            -- Pairs of networks first: a flow is then one row, not two.
            SELECT
                toStartOfFiveMinutes(toDateTime(ts, 'UTC')) AS time, toUInt32({code exporter}) AS code,
                if(direction = 2, 0, network(toUInt128(src_addr))) AS source,
                if(direction = 1, 0, network(toUInt128(dst_addr))) AS destination,
                count() AS flows_, sum(octets_est) AS octets_est_
            FROM flows
            WHERE {where}
                -- Implausible (8), of unknown sampling (16) and counted at another exporter (512): in no service's figure.
                AND bitAnd(flags, 536) = 0
                AND copy != 1
                AND sub_id = 0
            GROUP BY time, code, source, destination
        )
        GROUP BY time, code, net
        -- More are of no use to who looks for a missing lease, and a scan of the Internet would fill the table.
        ORDER BY unmatched_octets DESC, whole
        LIMIT 200 BY time, code
    )
)
-- Every row is a group of its own already.  But a union's rows come in pieces that the order alone joins otherwise than
-- those of one query, and their token would not be that of the same rows from elsewhere.
GROUP BY time, exporter, prefix
-- The order makes the result one piece, without which a repeat under the same token is not recognised.
ORDER BY time
