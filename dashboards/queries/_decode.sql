-- R9: of what an exporter sent in a closed bucket, how much was not used in full, by kind.
--
-- template     sets that waited for their template in vain, of all sets
-- sampling     records without a sampling interval, of all records
-- subscriber   records without a subscriber, of the sound ones, above what is usual: the median of the same hour of the
--              last 7 days.  A router that carries transit always has some.
-- sequence     missed by sequence numbers, of records and missed (NetFlow v9 and sFlow count messages: at least so much)
decode_hours AS
(
    SELECT end, day, toUInt32(end - day * 86400) AS at
    FROM (SELECT arrayJoin(range(toUInt32(first_end - 300), toUInt32(last_end + 1), 300)) AS end)
    ARRAY JOIN range(8) AS day
),
decode_buckets AS
(
    SELECT
        toString(e.exporter) AS exporter, toUInt32(intDiv(toUnixTimestamp(e.time), 300) * 300) AS begin,
        sum(e.flows) AS flows, sum(e.unmatched_flows) AS unmatched, sum(e.unknown_rate_flows) AS rateless,
        sum(e.flows + e.unknown_rate_flows + e.implausible_flows) AS records
    FROM exporter_1m AS e
    WHERE e.time IN (SELECT DISTINCT toDateTime(arrayJoin(range(at - 3600, at, 60)), 'UTC') FROM decode_hours)
    GROUP BY exporter, begin
),
decode_sums AS
(
    SELECT *, sum(flows) OVER hour AS flows_of_hour, sum(unmatched) OVER hour AS unmatched_of_hour
    FROM decode_buckets
    WINDOW hour AS (PARTITION BY exporter ORDER BY begin RANGE BETWEEN 3300 PRECEDING AND CURRENT ROW)
),
decode_now AS
(
    SELECT
        h.end AS end, s.exporter AS exporter,
        sumIf(s.rateless, h.day = 0) AS rateless, sumIf(s.records, h.day = 0) AS records,
        sumIf(s.unmatched, h.day = 0) AS unmatched, sumIf(s.flows, h.day = 0) AS flows,
        groupArrayIf(s.unmatched_of_hour / s.flows_of_hour, h.day > 0 AND s.flows_of_hour >= 500) AS before,
        if(length(before) < 3, 0, arrayReduce('quantileExactInclusive(0.5)', before)) AS usual
    FROM decode_sums AS s INNER JOIN decode_hours AS h ON h.at = s.begin + 300
    GROUP BY end, exporter
),
health_now AS
(
    SELECT
        toUInt32(intDiv(toUnixTimestamp(e.time), 300) * 300 + 300) AS end, toString(e.exporter) AS exporter,
        sumIf(e.value, e.counter IN ('held_dropped_expired', 'held_dropped_evicted', 'sets_dropped_held_full')) AS lost_sets,
        sumIf(e.value, e.counter = 'sets') AS sets,
        sumIf(e.value, e.counter = 'sequence_missed') AS missed,
        missed + sumIf(e.value, e.counter IN ('records_flow', 'records_options')) AS due
    FROM exporter_health_1m AS e
    WHERE e.time >= toDateTime(first_end - 600, 'UTC') AND e.time < toDateTime(last_end, 'UTC')
        AND e.counter IN ('held_dropped_expired', 'held_dropped_evicted', 'sets_dropped_held_full', 'sets',
            'sequence_missed', 'records_flow', 'records_options')
    GROUP BY end, exporter
),
decoded AS
(
    SELECT end, exporter, one.1 AS kind, toInt64(one.2) AS bad, toInt64(one.3) AS whole,
        bad / whole - one.4 AS share
    FROM
    (
        SELECT end, exporter, arrayJoin([
            ('sampling', toFloat64(rateless), toFloat64(records), 0.),
            -- Four standard errors above: few records scatter.
            ('subscriber', toFloat64(unmatched), toFloat64(flows),
                usual + 4 * sqrt(usual * (1 - usual) / greatest(flows, 1)))]) AS one
        FROM decode_now
        UNION ALL
        SELECT end, exporter, arrayJoin([
            ('template', toFloat64(lost_sets), toFloat64(sets), 0.),
            ('sequence', toFloat64(missed), toFloat64(due), 0.)]) AS one
        FROM health_now
    )
    -- Fewer are no share.
    WHERE one.3 >= 200
)
