-- The QUIC share of everything (Q1) of the last hour, and the band it should lie in, by service and exporter.
-- end, day, hours: as in _hours.sql.  Exporters that are silent now, or are new, are in none of the hours (R6).
{{_settings}},
{steps} AS steps,
(
    SELECT CAST((groupArray(name), groupArray(value)), 'Map(String, String)')
    FROM (SELECT toString(name) AS name, argMax(value, made) AS value FROM setting WHERE name LIKE 'alerts:band:%' GROUP BY name)
) AS bands,
{{_hours}},
buckets AS
(
    SELECT
        b.service AS service, b.exporter AS exporter, b.time AS time,
        sumIf(b.octets_est, b.bucket = 'udp/443') AS quic,
        sum(b.octets_est) AS octets,
        sum(b.packets) AS packets,
        sum(b.flows) AS flows
    FROM bucket_end_5m AS b
    WHERE b.time IN (SELECT DISTINCT toDateTime(arrayJoin(range(at - 3600, at, 300)), 'UTC') FROM hours)
        AND b.direction > 0 AND b.access <> 'ipoe'
    GROUP BY service, exporter, time
),
sums AS
(
    SELECT
        if(b.service = '', '(none)', toString(b.service)) AS service, toString(b.exporter) AS exporter,
        toUInt32(toUnixTimestamp(b.time)) + 300 AS at,
        sum(b.quic) OVER hour AS quic,
        sum(b.octets) OVER hour AS octets,
        sum(b.packets) OVER hour AS packets,
        sum(b.flows) OVER hour AS flows,
        groupBitOr(bitShiftLeft(toUInt16(1), intDiv(toUnixTimestamp(b.time), 300) % 12)) OVER hour AS there
    FROM buckets AS b
    WINDOW hour AS (PARTITION BY b.service, b.exporter ORDER BY toUnixTimestamp(b.time) RANGE BETWEEN 3300 PRECEDING AND CURRENT ROW)
),
found AS
(
    SELECT
        s.service AS service, s.exporter AS exporter, h.end AS end,
        groupArray(h.day) AS day, groupArray(s.quic) AS quic_, groupArray(s.octets) AS octets_,
        groupArray(s.flows) AS flows_, groupArray(s.there) AS there_,
        sumIf(s.packets, h.day = 0) AS packets,
        groupArrayIf(s.flows, h.day BETWEEN 1 AND 28) AS flows_before
    FROM sums AS s
    INNER JOIN hours AS h ON h.at = s.at
    GROUP BY service, exporter, end
),
days AS
(
    SELECT
        * EXCEPT (places),
        arrayMap(p -> quic_[p], places) AS quic,
        arrayMap(p -> octets_[p], places) AS octets,
        arrayMap(p -> there_[p], places) AS there,
        toFloat64(flows_[places[1]]) AS flows,
        if(steps = 1, [], arrayMap(p -> octets_[p], arrayMap(d -> indexOf(day, d), range(36, 204)))) AS of_week
    FROM
    (
        SELECT *, arrayMap(d -> indexOf(day, d), range(36)) AS places,
            if(empty(flows_before), 0., arrayReduce('quantileExactInclusive(0.5)', flows_before)) AS usual_flows,
            length(flows_before) AS days_before,
            max(length(flows_before)) OVER (PARTITION BY service, end) AS most_days,
            count() OVER (PARTITION BY service, end) AS of_service
        FROM found
    )
),
counted AS
(
    SELECT
        *,
        toUInt16(flows > 0 AND days_before * 2 >= most_days AND NOT (greatest(flows, usual_flows) >= 120 AND (
            there[1] != 4095 OR flows * 5 < usual_flows OR days_before > 0 AND usual_flows * 5 < flows))) AS counts
    FROM days
),
summed AS
(
    SELECT
        service, exporter, end,
        sumForEach(arrayMap(x -> x * counts, quic)) AS quic_,
        sumForEach(arrayMap(x -> x * counts, octets)) AS octets_,
        groupBitOrForEach(arrayMap(x -> x * counts, there)) AS there_,
        sum(packets * counts) AS n,
        arrayFilter(o -> o > 0, sumForEach(of_week)) AS octets_of_week,
        groupArray((exporter, octets[1])) AS weights,
        max(of_service) AS exporters
    FROM counted
    GROUP BY GROUPING SETS ((service, end), (service, exporter, end))
),
bounds AS
(
    SELECT
        *,
        old AND length(shares_before) >= 14 AS known,
        arrayMap(x -> toFloat64OrZero(x) / 100, splitByChar('-', multiIf(exporter != '', '',
            bands[concat('alerts:band:', service)] != '', bands[concat('alerts:band:', service)],
            -- Published shares of 2024, 8 points either way.
            service = 'fixed', '13-29', service = 'mobile', '14.5-30.5', ''))) AS given
    FROM
    (
        SELECT
            *,
            quic_[1] / greatest(octets_[1], 1) AS share,
            arrayMap(d -> there_[d + 1] = 4095 AND octets_[d + 1] > 0
                AND NOT has(holidays, toString(toDate(toDateTime(end - 1, zone)) - d)), range(36)) AS whole,
            arrayMap(d -> quic_[d + 1] / octets_[d + 1], arrayFilter(d -> whole[d + 1], range(1, 29))) AS shares_before,
            arrayExists(d -> whole[d + 1], range(28, 36)) AS old
        FROM summed
        WHERE exporter = '' OR exporters > 1
    )
),
turns AS
(
    SELECT
        *,
        sum(judged AND (share < low OR share > high)) OVER six = 6 AS left,
        sum(judged AND share >= low AND share <= high) OVER six = 6 AS returned
    FROM
    (
        SELECT
            *,
            there_[1] = 4095 AND octets_[1] > 0 AND n >= 10000 AND (known OR length(given) = 2) AS judged,
            if(known, arrayReduce('quantileExactInclusive(0.5)', shares_before) - 0.08, given[1]) AS low,
            if(known, arrayReduce('quantileExactInclusive(0.5)', shares_before) + 0.08, given[2]) AS high
        FROM bounds
    )
    WINDOW six AS (PARTITION BY service, exporter ORDER BY end RANGE BETWEEN 1500 PRECEDING AND CURRENT ROW)
),
states AS
(
    SELECT *, end + grace AS moment, max(if(left, end, 0)) OVER since > max(if(returned, end, 0)) OVER since AS outside
    FROM turns
    WINDOW since AS (PARTITION BY service, exporter ORDER BY end RANGE BETWEEN 19800 PRECEDING AND CURRENT ROW)
)
