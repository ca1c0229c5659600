-- Is the QUIC share of port 443 (Q2) far below that of the same hour a week before?
-- reads: bucket_end_5m, bucket_1m, exporter_1m, exporter_health_1m
WITH
{{_week}},
{{_guards}}
SELECT {columns}
FROM newest
ORDER BY ALL
