-- R6: which exporter sends less than a fifth of what it sent at the same time last week, for three closed buckets?
-- Judged where that was a hundred records and more in each, and last week's day is no listed holiday.
-- reads: exporter_1m, bucket_1m
WITH
{{_settings}},
toUInt32(last_end - 604800 + timeZoneOffset(toDateTime(last_end, zone)) - timeZoneOffset(toDateTime(last_end - 604800, zone)))
    AS last_week,
{{_fresh}},
{{_records}}
SELECT {columns}
FROM
(
    SELECT
        exporter,
        [sumIf(records, end = last_end), sumIf(records, end = last_end - 300),
            sumIf(records, end = last_end - 600)] AS now_,
        [sumIf(records, end = last_week), sumIf(records, end = last_week - 300),
            sumIf(records, end = last_week - 600)] AS then_
    FROM records
    GROUP BY exporter
)
WHERE last_end IN (SELECT end FROM fresh) AND last_end IN (SELECT end FROM records) AND arrayMin(then_) >= 100
    AND NOT has(holidays, toString(toDate(toDateTime(last_week - 1, zone))))
ORDER BY ALL
