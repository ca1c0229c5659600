-- R10: whose sampling interval is one that it did not have the day before?
-- The day ends 24 hours ago, so that a change is told for a day.  Without such a day: who has two of them.
-- reads: exporter_1m, bucket_1m
WITH
{{_settings}},
{{_fresh}}
SELECT {columns}
FROM
(
    SELECT
        exporter,
        arrayDistinct(arrayConcat(groupUniqArrayIf(smallest, recent AND smallest > 0),
            groupUniqArrayIf(largest, recent AND largest > 0))) AS now_,
        arrayDistinct(arrayConcat(groupUniqArrayIf(smallest, NOT recent AND smallest > 0),
            groupUniqArrayIf(largest, NOT recent AND largest > 0))) AS then_
    FROM
    (
        SELECT toString(e.exporter) AS exporter, e.min_sampling AS smallest, e.max_sampling AS largest,
            e.time >= toDateTime(last_end - 3600, 'UTC') AS recent
        FROM exporter_1m AS e
        WHERE e.time >= toDateTime(last_end - 3600, 'UTC') AND e.time < toDateTime(last_end, 'UTC')
            OR e.time >= toDateTime(last_end - 172800, 'UTC') AND e.time < toDateTime(last_end - 86400, 'UTC')
    )
    GROUP BY exporter
    HAVING notEmpty(now_)
)
WHERE last_end IN (SELECT end FROM fresh)
ORDER BY ALL
