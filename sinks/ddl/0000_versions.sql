-- What has been applied to this store, and what can never change in it.

CREATE TABLE IF NOT EXISTS schema_version
(
    version UInt32,
    name String,
    applied DateTime64(3, 'UTC'),
    -- SHA-256 of the file, so that an edit of an applied file is noticed.
    checksum String
)
ENGINE = MergeTree
ORDER BY version;

CREATE TABLE IF NOT EXISTS setting
(
    name LowCardinality(String),
    value String,
    made DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (name, made);
