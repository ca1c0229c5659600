-- R4: by how much does the QUIC share of everything (Q1) of the last 7 full days differ from that of the 7 before?
-- Local days.  A listed holiday is left out with its day of the other week; exporters without all of the days, too (R6).
-- reads: bucket_end_5m, bucket_1m, exporter_1m, exporter_health_1m
WITH
{{_settings}},
toDate(toDateTime(last_end, zone)) AS today,
{{_decode}},
{{_blocks}},
of_days AS
(
    SELECT
        if(service = '', '(none)', toString(service)) AS service,
        toString(exporter) AS exporter,
        today - toDate(time, zone) AS back,
        count() AS buckets, sum(quic) AS quic, sum(octets) AS octets, sum(packets) AS packets, sum(flows) AS flows
    FROM
    (
        SELECT
            b.service AS service, b.exporter AS exporter, b.time AS time,
            sumIf(b.octets_est, b.bucket = 'udp/443') AS quic, sum(b.octets_est) AS octets,
            sum(b.packets) AS packets, sum(b.flows) AS flows
        FROM bucket_end_5m AS b
        WHERE b.time >= toDateTime(today - 14, zone) AND b.time < toDateTime(today, zone)
            AND b.direction > 0 AND b.access <> 'ipoe'
        GROUP BY service, exporter, time
    )
    GROUP BY service, exporter, back
),
-- Ten flows a bucket and more: nine tenths of a day's buckets are a day.
whole AS
(
    SELECT *, exporter IN (SELECT exporter FROM undecoded WHERE end = last_end) AS bad
    FROM
    (
        SELECT *, sum(flows) OVER own AS flows_of_all, countIf(buckets >= 259) OVER own AS days
        FROM of_days
        WINDOW own AS (PARTITION BY service, exporter)
    )
    WHERE flows_of_all < 10 * 288 * 14 OR days = 14
),
compared AS
(
    SELECT
        service,
        (back - 1) % 7 AS weekday,
        sumIf(quic, back <= 7) AS quic_now, sumIf(octets, back <= 7) AS octets_now, sumIf(packets, back <= 7) AS n_now,
        sumIf(quic, back > 7) AS quic_then, sumIf(octets, back > 7) AS octets_then, sumIf(packets, back > 7) AS n_then,
        sumIf(octets, back <= 7 AND bad) AS octets_bad
    FROM whole
    WHERE NOT has(holidays, toString(today - back))
        AND NOT has(holidays, toString(today - if(back > 7, back - 7, back + 7)))
    GROUP BY service, weekday
    HAVING least(n_now, n_then) > 0 AND least(octets_now, octets_then) > 0
)
SELECT {columns}
FROM
(
    SELECT
        service,
        sum(quic_now) / sum(octets_now) AS share, sum(quic_then) / sum(octets_then) AS share_before,
        least(sum(n_now), sum(n_then)) AS n
    FROM compared
    GROUP BY service
    HAVING count() >= 5 AND n >= 10000 AND sum(octets_bad) * 20 <= sum(octets_now)
)
WHERE (service, last_end) IN (SELECT service, end FROM fresh)
ORDER BY ALL
