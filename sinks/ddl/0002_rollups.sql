-- Narrow tables, made from raw by sinks/rollups/*.sql.  A row counts once its duplicates are summed: always sum().

CREATE TABLE IF NOT EXISTS bucket_1m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    sub_group LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    bucket LowCardinality(String),
{measures}
)
ENGINE = SummingMergeTree((flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, '{timezone}')
ORDER BY (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket)
{minute_ttl}
{rollup_settings};

CREATE TABLE IF NOT EXISTS bucket_end_5m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    sub_group LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    bucket LowCardinality(String),
{measures}
)
ENGINE = SummingMergeTree((flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, '{timezone}')
ORDER BY (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket)
{minute_ttl}
{rollup_settings};

CREATE TABLE IF NOT EXISTS port_1h
(
    -- The instant at which the local hour begins.
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    proto UInt8,
    lower_port UInt16,
    -- Where there is no port; empty for TCP and UDP.
    bucket LowCardinality(String),
{measures}
)
ENGINE = SummingMergeTree((flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMM(hour, '{timezone}')
ORDER BY (hour, service, segment, access, ip_version, direction, proto, lower_port, bucket)
{rollup_settings};

CREATE TABLE IF NOT EXISTS subscriber_1d
(
    -- The local day.
    day Date,
    sub_id UInt64,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    direction UInt8,
{measures}
)
ENGINE = SummingMergeTree((flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMM(day)
ORDER BY (day, sub_id, service, segment, access, direction)
{rollup_settings};
