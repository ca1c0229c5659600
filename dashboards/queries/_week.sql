-- The QUIC share of port 443 (Q2) of the last hour beside the same local hour a week before, by service and exporter.
--
-- end, day, hours: as in _hours.sql
-- pair       of hours that are compared: 1 now and 7 days before, 2 now and 14 days before, then those of the last 28
--            days with theirs a week before: the differences whose spread widens the threshold
--
-- An exporter that was silent in one of two hours is left out of both (R6).  It was silent when it has ten flows a
-- bucket in the other hour and none in one of these twelve, or less than a fifth of the other's.
{{_settings}},
{steps} AS steps,
arrayConcat([1, 1], range(2, 30)) AS nows,
arrayConcat([8, 15], range(9, 37)) AS thens,
{{_hours}},
-- Of every exporter and closed bucket that some hour needs; one pass over the table.
buckets AS
(
    SELECT
        b.service AS service, b.exporter AS exporter, b.time AS time,
        sumIf(b.octets_est, b.bucket = 'udp/443') AS quic,
        sumIf(b.octets_est, b.bucket = 'tcp/443') AS tcp,
        sum(b.packets) AS packets,
        sum(b.flows) AS flows
    FROM bucket_end_5m AS b
    WHERE b.time IN (SELECT DISTINCT toDateTime(arrayJoin(range(at - 3600, at, 300)), 'UTC') FROM hours)
        AND b.bucket IN ('udp/443', 'tcp/443') AND b.direction > 0 AND b.access <> 'ipoe'
    GROUP BY service, exporter, time
),
-- The hour that ends with each bucket; there: a bit for each of its twelve buckets.
sums AS
(
    SELECT
        if(b.service = '', '(none)', toString(b.service)) AS service, toString(b.exporter) AS exporter,
        toUInt32(toUnixTimestamp(b.time)) + 300 AS at,
        sum(b.quic) OVER hour AS quic,
        sum(b.tcp) OVER hour AS tcp,
        sum(b.packets) OVER hour AS packets,
        sum(b.flows) OVER hour AS flows,
        groupBitOr(bitShiftLeft(toUInt16(1), intDiv(toUnixTimestamp(b.time), 300) % 12)) OVER hour AS there
    FROM buckets AS b
    WINDOW hour AS (PARTITION BY b.service, b.exporter ORDER BY toUnixTimestamp(b.time) RANGE BETWEEN 3300 PRECEDING AND CURRENT ROW)
),
-- A row for each exporter and end, with the hours of all days; nothing where it has none.
found AS
(
    SELECT
        s.service AS service, s.exporter AS exporter, h.end AS end,
        groupArray(h.day) AS day, groupArray(s.quic) AS quic_, groupArray(s.tcp) AS tcp_,
        groupArray(s.packets) AS packets_, groupArray(s.flows) AS flows_, groupArray(s.there) AS there_
    FROM sums AS s
    INNER JOIN hours AS h ON h.at = s.at
    GROUP BY service, exporter, end
),
days AS
(
    SELECT
        * EXCEPT (places, places_of_week),
        arrayMap(p -> quic_[p], places) AS quic,
        arrayMap(p -> tcp_[p], places) AS tcp,
        arrayMap(p -> packets_[p], places) AS packets,
        arrayMap(p -> flows_[p], places) AS flows,
        arrayMap(p -> there_[p], places) AS there,
        arrayMap(p -> quic_[p] + tcp_[p], places_of_week) AS of_week
    FROM
    (
        SELECT
            *,
            arrayMap(d -> indexOf(day, d), range(36)) AS places,
            if(steps = 1, [], arrayMap(d -> indexOf(day, d), range(36, 204))) AS places_of_week
        FROM found
    )
),
sides AS
(
    SELECT
        service, exporter, end, of_week, quic[1] + tcp[1] AS octets,
        arrayMap(x -> quic[x], nows) AS quic_a, arrayMap(x -> quic[x], thens) AS quic_b,
        arrayMap(x -> tcp[x], nows) AS tcp_a, arrayMap(x -> tcp[x], thens) AS tcp_b,
        arrayMap(x -> packets[x], nows) AS packets_a, arrayMap(x -> packets[x], thens) AS packets_b,
        arrayMap(x -> flows[x], nows) AS flows_a, arrayMap(x -> flows[x], thens) AS flows_b,
        arrayMap(x -> there[x], nows) AS there_a, arrayMap(x -> there[x], thens) AS there_b,
        -- Whether it was known the day before that hour.
        arrayMap(x -> flows[x + 1] > 0, thens) AS known
    FROM days
),
-- Which hours of an exporter count in each pair, and which it spoils (R7): known the day before, and then silent.
counted AS
(
    SELECT
        *,
        arrayMap((s, z) -> toUInt16(NOT s AND NOT z), silent, was_silent) AS counts,
        arrayMap((s, x, y, t, k) -> toUInt8(NOT s AND k AND greatest(x, y) >= 120 AND t != 4095),
            silent, flows_a, flows_b, there_b, known) AS spoils
    FROM
    (
        SELECT
            *,
            arrayMap((x, y, t) -> x = 0 OR greatest(x, y) >= 120 AND (t != 4095 OR x * 5 < y),
                flows_a, flows_b, there_a) AS silent,
            arrayMap((x, y, t) -> y = 0 OR greatest(x, y) >= 120 AND (t != 4095 OR y * 5 < x),
                flows_a, flows_b, there_b) AS was_silent
        FROM sides
    )
),
compared AS
(
    SELECT
        service, exporter, end,
        sumForEach(arrayMap((x, c) -> x * c, quic_a, counts)) AS quic_now,
        sumForEach(arrayMap((x, c) -> x * c, quic_b, counts)) AS quic_then,
        sumForEach(arrayMap((x, c) -> x * c, tcp_a, counts)) AS tcp_now,
        sumForEach(arrayMap((x, c) -> x * c, tcp_b, counts)) AS tcp_then,
        sumForEach(arrayMap((x, c) -> x * c, packets_a, counts)) AS packets_now,
        sumForEach(arrayMap((x, c) -> x * c, packets_b, counts)) AS packets_then,
        groupBitOrForEach(arrayMap((x, c) -> x * c, there_a, counts)) AS there_now,
        groupBitOrForEach(arrayMap((x, c) -> x * c, there_b, counts)) AS there_then,
        maxForEach(spoils) AS spoilt,
        arrayFilter(o -> o > 0, sumForEach(of_week)) AS octets_of_week,
        groupArray((exporter, octets)) AS weights,
        sum(packets_a[1]) AS packets_today,
        groupBitOr(there_a[1]) AS there_today,
        max(of_service) AS exporters
    FROM (SELECT *, count() OVER (PARTITION BY service, end) AS of_service FROM counted)
    GROUP BY GROUPING SETS ((service, end), (service, exporter, end))
),
-- Of each pair: both shares, whether both hours are whole, and whether the earlier one is a baseline (R7).
pairs AS
(
    SELECT
        *,
        arrayMap((w, s, y) -> w AND NOT s AND NOT free[y], whole, spoilt, thens) AS usable
    FROM
    (
        SELECT
            *,
            arrayMap((a, b, x, y) -> a = 4095 AND b = 4095 AND x > 0 AND y > 0, there_now, there_then,
                arrayMap((q, t) -> q + t, quic_now, tcp_now), arrayMap((q, t) -> q + t, quic_then, tcp_then)) AS whole,
            arrayMap((q, t) -> q / greatest(q + t, 1), quic_now, tcp_now) AS shares_now,
            arrayMap((q, t) -> q / greatest(q + t, 1), quic_then, tcp_then) AS shares_then,
            arrayMap(d -> has(holidays, toString(toDate(toDateTime(end - 1, zone)) - d)), range(36)) AS free
        FROM compared
        WHERE exporter = '' OR exporters > 1
    )
),
judgements AS
(
    SELECT
        *,
        if(length(changes) < 14, 0.05, greatest(0.05, 4 * 1.4826 * arrayReduce('quantileExactInclusive(0.5)',
            arrayMap(x -> abs(x - middle), changes)))) AS threshold,
        least(packets_now[base], packets_then[base]) AS n,
        shares_now[base] AS share,
        shares_then[base] AS share_before
    FROM
    (
        SELECT *, if(empty(changes), 0, arrayReduce('quantileExactInclusive(0.5)', changes)) AS middle
        FROM
        (
            SELECT
                *,
                -- The week before, else two before, else none.
                multiIf(usable[1], 1, usable[2], 2, 0) AS base,
                arrayFilter((x, i) -> i > 2 AND whole[i] AND NOT free[nows[i]] AND NOT free[thens[i]],
                    arrayMap((x, y) -> x - y, shares_now, shares_then), arrayEnumerate(whole)) AS changes
            FROM pairs
        )
    )
),
-- Fires after three closed buckets in a row, clears after six; what was before the last six hours is forgotten.
turns AS
(
    SELECT
        *,
        sum(judged AND NOT echo AND change >= threshold) OVER three = 3 AS rose,
        sum(judged AND (echo OR change < 0.6 * threshold)) OVER six = 6 AS rose_no_more,
        sum(judged AND NOT echo AND change <= -threshold) OVER three = 3 AS fell,
        sum(judged AND (echo OR change > -0.6 * threshold)) OVER six = 6 AS fell_no_more
    FROM
    (
        SELECT
            *,
            share - share_before AS change,
            base > 0 AND n >= 10000 AS judged,
            -- As two weeks before, and only the week before was not: what is seen is the end of what happened then.
            base = 1 AND usable[2] AND least(packets_now[2], packets_then[2]) >= 10000
                AND abs(shares_now[2] - shares_then[2]) < 0.6 * threshold AS echo
        FROM judgements
    )
    WINDOW three AS (PARTITION BY service, exporter ORDER BY end RANGE BETWEEN 600 PRECEDING AND CURRENT ROW),
        six AS (PARTITION BY service, exporter ORDER BY end RANGE BETWEEN 1500 PRECEDING AND CURRENT ROW)
),
states AS
(
    SELECT
        *, end + grace AS moment,
        max(if(rose, end, 0)) OVER up > max(if(rose_no_more, end, 0)) OVER down AS jump,
        max(if(fell, end, 0)) OVER up > max(if(fell_no_more, end, 0)) OVER down AS drop
    FROM turns
    WINDOW up AS (PARTITION BY service, exporter ORDER BY end RANGE BETWEEN 20700 PRECEDING AND CURRENT ROW),
        down AS (PARTITION BY service, exporter ORDER BY end RANGE BETWEEN 19800 PRECEDING AND CURRENT ROW)
)
