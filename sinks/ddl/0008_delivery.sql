-- Proof of delivery: rows by stage and minute of arrival; decoded, published, enriched and inserted must agree.
CREATE TABLE IF NOT EXISTS audit_1m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    stage LowCardinality(String),
    -- '' where the message that had the rows cannot be read.
    exporter LowCardinality(String),
    partition UInt16,
    rows Int64 CODEC(T64, ZSTD(1))
)
ENGINE = SummingMergeTree(rows)
PARTITION BY toYYYYMM(time, '{timezone}')
ORDER BY (time, exporter, partition, stage)
{minute_ttl}
{rollup_settings};

-- Where the offsets of each making of flows.enriched begin in flows.bus_offset: a stream made again starts at 0 anew,
-- and ranges of offsets must not meet rows of its predecessor.
CREATE TABLE IF NOT EXISTS bus_stream
(
    stream String,
    partition UInt16,
    base UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (stream, partition, made)
SETTINGS non_replicated_deduplication_window = 100000;
