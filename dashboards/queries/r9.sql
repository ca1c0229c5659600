-- R9: of which exporter is how much not used in full, in both of the last two closed buckets?
-- reads: exporter_1m, exporter_health_1m, bucket_1m
WITH
{{_settings}},
{{_decode}},
{{_blocks}}
SELECT {columns}
FROM
(
    SELECT
        d.exporter AS exporter, d.kind AS kind, min(d.share) AS least, argMax(d.share, d.end) AS share, min(d.bad) AS bad,
        argMax(d.whole, d.end) AS whole
    FROM decoded AS d
    WHERE last_end IN (SELECT end FROM fresh)
    GROUP BY exporter, kind
    HAVING count() = 2
)
ORDER BY ALL
