-- What happened to alerts: one row a change of state, for people, the console's pages and Grafana's annotations.
CREATE TABLE IF NOT EXISTS alert_history
(
    -- Of the evaluation.
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    uid LowCardinality(String),
    rule LowCardinality(String),
    title LowCardinality(String),
    severity LowCardinality(String),
    -- pending, firing, resolved, normal, nodata or error.
    state LowCardinality(String),
    labels Map(String, String),
    values Map(String, Float64),
    summary String,
    -- Why, where the rule's own row does not say it.
    reason String,
    -- When it began to fire; equals time where it never did.
    started DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time, '{timezone}')
ORDER BY (time, uid)
{rollup_settings};
