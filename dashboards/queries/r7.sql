-- R7: which service has enough data and no hour to compare it with, although it is known for more than two weeks?
-- reads: bucket_end_5m, bucket_1m, exporter_1m, exporter_health_1m
WITH
{{_week}},
{{_decode}},
{{_blocks}}
SELECT {columns}
FROM
(
    SELECT
        service, moment, packets_today AS n, base,
        arrayExists((t, y) -> t > 0 AND y > 15, there_then, thens) AS old
    FROM states
    WHERE end >= first_end AND exporter = '' AND there_today = 4095 AND packets_today >= 10000
        AND (service, end) IN (SELECT service, end FROM fresh)
)
ORDER BY ALL
