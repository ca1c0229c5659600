-- Raw flows: every row the bus had, kept for days.  Columns come from sinks/schema.py.
CREATE TABLE IF NOT EXISTS flows
(
{flow_columns},
    -- Rollups and the audit read ranges of offsets: a granule holds rows of few messages.
    INDEX by_offset bus_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY ts
{flow_ttl}
SETTINGS
    default_compression_codec = 'ZSTD(1)',
    -- The window counts parts of all partitions; off by default on a plain MergeTree, and repeats would double rows.
    non_replicated_deduplication_window = 100000,
    -- Whole days are dropped, nothing is rewritten.
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    -- Fewer passes over each row: merging is what costs most.
    min_parts_to_merge_at_once = 12;
