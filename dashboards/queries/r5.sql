-- R5: where is too little data now to judge, although there was enough in the hour before that it is compared with?
-- A service that is small at this hour of every week says nothing.
-- reads: bucket_end_5m, bucket_1m, exporter_1m, exporter_health_1m
WITH
{{_week}},
{{_decode}},
{{_blocks}}
SELECT {columns}
FROM
(
    SELECT
        service, moment, packets_now[base] AS n, packets_then[base] AS n_before,
        arraySum(weights.2) AS octets,
        if(empty(octets_of_week), 0, arrayReduce('quantileExactInclusive(0.5)', octets_of_week)) AS usual
    FROM states
    WHERE end >= first_end AND exporter = '' AND base > 0 AND (service, end) IN (SELECT service, end FROM fresh)
)
ORDER BY ALL
