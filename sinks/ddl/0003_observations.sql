-- Counters of exporters and stages by minute, from messages of kind observation.  Columns come from sinks/schema.py.

CREATE TABLE IF NOT EXISTS exporter_health_1m
(
{exporter_health_1m_columns}
)
ENGINE = SummingMergeTree(value)
PARTITION BY toYYYYMM(time, '{timezone}')
ORDER BY ({exporter_health_1m_key})
{minute_ttl}
{rollup_settings};

CREATE TABLE IF NOT EXISTS stage_1m
(
{stage_1m_columns}
)
ENGINE = SummingMergeTree(value)
PARTITION BY toYYYYMM(time, '{timezone}')
ORDER BY ({stage_1m_key})
{minute_ttl}
{rollup_settings};
