-- For people, never read for decisions: which ranges of the bus each rollup has, and what the sink did not insert.

CREATE TABLE IF NOT EXISTS rollup_cut
(
    rollup LowCardinality(String),
    partition UInt16,
    -- Offsets [a, b) of the enriched stream.
    a UInt64,
    b UInt64,
    rows UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (rollup, partition, a, made)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS bus_skipped
(
    time DateTime64(3, 'UTC'),
    partition UInt16,
    -- Of the enriched message; its rows [0, rows) were not inserted, for this reason.
    offset UInt64,
    rows UInt64,
    reason LowCardinality(String),
    -- Offsets [source_from, source_to) of the raw stream which the message stands for.
    source_from UInt64,
    source_to UInt64
)
ENGINE = MergeTree
ORDER BY (partition, offset)
SETTINGS non_replicated_deduplication_window = 100000;
