-- The rest of the narrow tables, and what rollups of several times, a rebuild and a back-fill keep.

CREATE TABLE IF NOT EXISTS bucket_5m
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

CREATE TABLE IF NOT EXISTS bucket_1h
(
    -- The instant at which the local hour begins.
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
PARTITION BY toYYYYMM(time, '{timezone}')
ORDER BY (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket)
{rollup_settings};

CREATE TABLE IF NOT EXISTS port_1d
(
    -- The local day.
    day Date,
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
PARTITION BY toYYYYMM(day)
ORDER BY (day, service, segment, access, ip_version, direction, proto, lower_port, bucket)
{rollup_settings};

CREATE TABLE IF NOT EXISTS interface_1m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    interface UInt32,
    -- 1 into the exporter, 2 out of it.
    direction UInt8,
{measures}
)
ENGINE = SummingMergeTree((flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, '{timezone}')
ORDER BY (exporter, interface, direction, time)
{minute_ttl}
{rollup_settings};

CREATE TABLE IF NOT EXISTS exporter_1m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    -- Rows that are neither implausible nor without a sampling interval.
{measures},
    -- Of them, those without a subscriber.
    unmatched_flows Int64 CODEC(T64, ZSTD(1)),
    unmatched_octets_est Int64 CODEC(T64, ZSTD(1)),
    -- Beside them: rows without a sampling interval (octets as sampled), and implausible ones.
    unknown_rate_flows Int64 CODEC(T64, ZSTD(1)),
    unknown_rate_octets Int64 CODEC(T64, ZSTD(1)),
    implausible_flows Int64 CODEC(T64, ZSTD(1)),
    -- Of the sound ones, those whose service is counted at another exporter.
    other_point_flows Int64 CODEC(T64, ZSTD(1)),
    other_point_octets_est Int64 CODEC(T64, ZSTD(1)),
    -- Rows with any flag.
    flagged_flows Int64 CODEC(T64, ZSTD(1)),
    min_sampling SimpleAggregateFunction(min, UInt32),
    max_sampling SimpleAggregateFunction(max, UInt32)
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMMDD(time, '{timezone}')
ORDER BY (time, exporter)
{minute_ttl}
{rollup_settings};

CREATE TABLE IF NOT EXISTS talker_5m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    -- 1 as source, 2 as destination.
    side UInt8,
    -- address or prefix: two breakdowns of the same flows, never to be summed together.
    kind LowCardinality(String),
    -- IPv4 is ::ffff:0:0/96, so that its /24 has length 120; length 0: all the others.
    prefix IPv6,
    length UInt8,
{measures},
    -- Of the others: a figure of this time, side and kind lacks at most the sum of these.
    cut Int64 CODEC(T64, ZSTD(1))
)
ENGINE = SummingMergeTree((flows, packets, packets_est, octets, octets_est, cut))
PARTITION BY toYYYYMMDD(time, '{timezone}')
ORDER BY (time, kind, side, prefix, length)
{minute_ttl}
{rollup_settings};

CREATE TABLE IF NOT EXISTS as_5m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    src_as UInt32,
    dst_as UInt32,
{measures}
)
ENGINE = SummingMergeTree((flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, '{timezone}')
ORDER BY (time, src_as, dst_as)
{minute_ttl}
{rollup_settings};

-- One range of offsets on its way into several rollups; dropped when it is in all of them.  What a killed writer left
-- behind goes after a day.
CREATE TABLE IF NOT EXISTS flow_range
(
    made DateTime DEFAULT now(),
    partition UInt16,
    a UInt64,
    b UInt64,
    -- 0 short flows, 1 long ones spread, 2 long ones at their end.
    kind UInt8,
    minute DateTime('UTC'),
    exporter LowCardinality(String),
    in_if UInt32,
    out_if UInt32,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    sub_group LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    bucket LowCardinality(String),
    -- Of the other subscriber of the same flow; counted at another exporter.
    second UInt8,
    elsewhere UInt8,
    flows_ Int64,
    packets_ Int64,
    packets_est_ Int64,
    octets_ Int64,
    octets_est_ Int64
)
ENGINE = MergeTree
PARTITION BY (partition, a, b)
ORDER BY minute
TTL made + INTERVAL 1 DAY
{rollup_settings};

CREATE TABLE IF NOT EXISTS port_range
(
    made DateTime DEFAULT now(),
    partition UInt16,
    a UInt64,
    b UInt64,
    hour DateTime('UTC'),
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    proto UInt8,
    port UInt16,
    no_port LowCardinality(String),
    flows_ Int64,
    packets_ Int64,
    packets_est_ Int64,
    octets_ Int64,
    octets_est_ Int64
)
ENGINE = MergeTree
PARTITION BY (partition, a, b)
ORDER BY hour
TTL made + INTERVAL 1 DAY
{rollup_settings};

-- Ranges [a, b) of flows.bus_offset that are about to go into the rollups ('all'), or into one that is filled up.
-- Written before a range runs; rollup_cut says which are done.
CREATE TABLE IF NOT EXISTS rollup_plan
(
    rollup LowCardinality(String),
    stream String,
    partition UInt16,
    -- bus_offset of the stream's offset 0.
    base UInt64,
    a UInt64,
    b UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (rollup, partition, a, made)
SETTINGS non_replicated_deduplication_window = 100000;

-- From which bus_offset on a rollup has had every range; the first row of a rollup and partition holds.
CREATE TABLE IF NOT EXISTS rollup_start
(
    rollup LowCardinality(String),
    partition UInt16,
    start UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (rollup, partition, made)
SETTINGS non_replicated_deduplication_window = 100000;

-- While one of these lasts, no range goes into the rollups: a rebuild is about to exchange a partition.
CREATE TABLE IF NOT EXISTS rollup_hold
(
    id String,
    reason String,
    until DateTime64(3, 'UTC'),
    made DateTime64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (id, made)
SETTINGS non_replicated_deduplication_window = 100000;
