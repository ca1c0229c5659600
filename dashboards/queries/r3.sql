-- R3: is the QUIC share of everything (Q1) outside of its band?
-- The band is the median of the same hour of the last 28 days, 8 points either way; until there are so many, as set.
-- reads: bucket_end_5m, bucket_1m, exporter_1m, exporter_health_1m
WITH
{{_band}},
{{_guards}}
SELECT {columns}
FROM newest
ORDER BY ALL
