-- R6: which exporter of the last day has sent nothing for a closed bucket?
-- Judged where it sends in every bucket: five records and more in 19 of 20, and few pauses.  When all are silent, it is
-- not they who stand still: R0 says so.
-- reads: exporter_1m, bucket_1m
WITH
{{_settings}},
last_end AS last_week,
{{_fresh}},
{{_records}}
SELECT {columns}
FROM
(
    SELECT exporter, max(end) AS newest, quantileExact(0.05)(records) AS usual, countIf(step > 300) AS pauses
    FROM
    (
        SELECT *, end - lagInFrame(end, 1, end) OVER (PARTITION BY exporter ORDER BY end
            ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS step
        FROM records
    )
    GROUP BY exporter
    HAVING usual >= 5 AND pauses <= 3
)
WHERE last_end IN (SELECT end FROM fresh)
    -- Somebody sent in each of its minutes: the first bucket after an outage of ours is not whole.
    AND 5 =
    (
        SELECT uniqExact(e.time) FROM exporter_1m AS e
        WHERE e.time >= toDateTime(last_end - 300, 'UTC') AND e.time < toDateTime(last_end, 'UTC')
    )
ORDER BY ALL
