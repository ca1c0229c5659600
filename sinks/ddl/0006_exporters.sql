-- What exporters tell of themselves: counters of their interfaces, and names learnt from options data.

CREATE TABLE IF NOT EXISTS interface_counter
(
{interface_counter_columns}
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time, '{timezone}')
ORDER BY (exporter, interface, time)
{minute_ttl}
{rollup_settings};

CREATE TABLE IF NOT EXISTS exporter_name
(
{exporter_name_columns}
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (exporter, domain, kind, id)
{rollup_settings};

CREATE OR REPLACE VIEW v_exporter_name AS
SELECT exporter, domain, kind, id,
    argMax(name, time) AS name, argMax(description, time) AS description, argMax(speed, time) AS speed,
    max(time) AS told
FROM exporter_name
GROUP BY exporter, domain, kind, id;
