-- cluster

CREATE DATABASE IF NOT EXISTS flowtide ON CLUSTER c;

CREATE DATABASE IF NOT EXISTS flowtide_all ON CLUSTER c;

-- 0000 versions

CREATE TABLE IF NOT EXISTS schema_version ON CLUSTER c
(
    version UInt32,
    name String,
    applied DateTime64(3, 'UTC'),
    checksum String
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/schema_version', '{shard}-{replica}')
ORDER BY version;

CREATE OR REPLACE VIEW flowtide_all.schema_version ON CLUSTER c AS SELECT * FROM flowtide.schema_version;

CREATE TABLE IF NOT EXISTS setting ON CLUSTER c
(
    name LowCardinality(String),
    value String,
    made DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/setting', '{shard}-{replica}')
ORDER BY (name, made);

CREATE OR REPLACE VIEW flowtide_all.setting ON CLUSTER c AS SELECT * FROM flowtide.setting;

-- 0001 flows

CREATE TABLE IF NOT EXISTS flows ON CLUSTER c
(
    exporter LowCardinality(String),
    domain UInt32,
    ts_start DateTime64(3,'UTC') CODEC(Delta, ZSTD(1)),
    ts DateTime64(3,'UTC') CODEC(DoubleDelta, ZSTD(1)),
    src_addr IPv6,
    dst_addr IPv6,
    src_port UInt16,
    dst_port UInt16,
    proto UInt8,
    tcp_flags UInt16,
    octets Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    in_if UInt32,
    out_if UInt32,
    src_as UInt32,
    dst_as UInt32,
    vlan UInt16,
    sampling UInt32,
    sampling_source UInt8,
    copy UInt8,
    flags UInt32,
    ip_version UInt8,
    next_hop IPv6,
    tos UInt8,
    src_mask UInt8,
    dst_mask UInt8,
    icmp UInt16,
    received DateTime64(3,'UTC') CODEC(Delta, ZSTD(1)),
    collector LowCardinality(String),
    extra Map(LowCardinality(String), String),
    octets_est Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    sub_id UInt64,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    sub_group LowCardinality(String),
    direction UInt8,
    lower_port UInt16,
    bucket LowCardinality(String),
    bus_partition UInt16,
    bus_offset UInt64,
    INDEX by_offset bus_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/flows', '{replica}')
PARTITION BY toYYYYMMDD(ts)
ORDER BY ts
TTL toDateTime(received) + INTERVAL 14 DAY
SETTINGS
    default_compression_codec = 'ZSTD(1)',
    replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    min_parts_to_merge_at_once = 12;

CREATE TABLE IF NOT EXISTS flowtide_all.flows ON CLUSTER c AS flowtide.flows
ENGINE = Distributed(c, flowtide, flows);

-- 0002 rollups

CREATE TABLE IF NOT EXISTS bucket_1m ON CLUSTER c
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
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/bucket_1m', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.bucket_1m ON CLUSTER c AS flowtide.bucket_1m
ENGINE = Distributed(c, flowtide, bucket_1m);

CREATE TABLE IF NOT EXISTS bucket_end_5m ON CLUSTER c
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
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/bucket_end_5m', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.bucket_end_5m ON CLUSTER c AS flowtide.bucket_end_5m
ENGINE = Distributed(c, flowtide, bucket_end_5m);

CREATE TABLE IF NOT EXISTS port_1h ON CLUSTER c
(
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    proto UInt8,
    lower_port UInt16,
    bucket LowCardinality(String),
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/port_1h', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMM(hour, 'Asia/Tokyo')
ORDER BY (hour, service, segment, access, ip_version, direction, proto, lower_port, bucket)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.port_1h ON CLUSTER c AS flowtide.port_1h
ENGINE = Distributed(c, flowtide, port_1h);

CREATE TABLE IF NOT EXISTS subscriber_1d ON CLUSTER c
(
    day Date,
    sub_id UInt64,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    direction UInt8,
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/subscriber_1d', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMM(day)
ORDER BY (day, sub_id, service, segment, access, direction)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.subscriber_1d ON CLUSTER c AS flowtide.subscriber_1d
ENGINE = Distributed(c, flowtide, subscriber_1d);

-- 0003 observations

CREATE TABLE IF NOT EXISTS exporter_health_1m ON CLUSTER c
(
    time DateTime('UTC'),
    collector LowCardinality(String),
    exporter LowCardinality(String),
    domain UInt32,
    counter LowCardinality(String),
    value Int64
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/exporter_health_1m', '{replica}', value)
PARTITION BY toYYYYMM(time, 'Asia/Tokyo')
ORDER BY (time, collector, exporter, domain, counter)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.exporter_health_1m ON CLUSTER c AS flowtide.exporter_health_1m
ENGINE = Distributed(c, flowtide, exporter_health_1m);

CREATE TABLE IF NOT EXISTS stage_1m ON CLUSTER c
(
    time DateTime('UTC'),
    collector LowCardinality(String),
    stage LowCardinality(String),
    counter LowCardinality(String),
    value Int64
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/stage_1m', '{replica}', value)
PARTITION BY toYYYYMM(time, 'Asia/Tokyo')
ORDER BY (time, collector, stage, counter)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.stage_1m ON CLUSTER c AS flowtide.stage_1m
ENGINE = Distributed(c, flowtide, stage_1m);

-- 0004 audit

CREATE TABLE IF NOT EXISTS rollup_cut ON CLUSTER c
(
    rollup LowCardinality(String),
    partition UInt16,
    a UInt64,
    b UInt64,
    rows UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/rollup_cut', '{replica}')
ORDER BY (rollup, partition, a, made)
SETTINGS replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS flowtide_all.rollup_cut ON CLUSTER c AS flowtide.rollup_cut
ENGINE = Distributed(c, flowtide, rollup_cut);

CREATE TABLE IF NOT EXISTS bus_skipped ON CLUSTER c
(
    time DateTime64(3, 'UTC'),
    partition UInt16,
    offset UInt64,
    rows UInt64,
    reason LowCardinality(String),
    source_from UInt64,
    source_to UInt64
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/bus_skipped', '{replica}')
ORDER BY (partition, offset)
SETTINGS replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS flowtide_all.bus_skipped ON CLUSTER c AS flowtide.bus_skipped
ENGINE = Distributed(c, flowtide, bus_skipped);

-- 0005 views

CREATE OR REPLACE VIEW v_flow ON CLUSTER c AS
SELECT
    ts AS time,
    ts_start AS started,
    exporter,
    domain,
    ip_version,
    replaceOne(IPv6NumToString(src_addr), '::ffff:', '') AS src,
    replaceOne(IPv6NumToString(dst_addr), '::ffff:', '') AS dst,
    src_port,
    dst_port,
    proto,
    lower_port,
    bucket,
    service,
    segment,
    access,
    sub_group,
    sub_id,
    direction,
    copy,
    packets,
    octets,
    packets_est,
    octets_est,
    sampling,
    sampling_source,
    tcp_flags,
    flags,
    in_if,
    out_if,
    src_as,
    dst_as,
    received
FROM flows;

CREATE OR REPLACE VIEW flowtide_all.v_flow ON CLUSTER c AS
SELECT
    ts AS time,
    ts_start AS started,
    exporter,
    domain,
    ip_version,
    replaceOne(IPv6NumToString(src_addr), '::ffff:', '') AS src,
    replaceOne(IPv6NumToString(dst_addr), '::ffff:', '') AS dst,
    src_port,
    dst_port,
    proto,
    lower_port,
    bucket,
    service,
    segment,
    access,
    sub_group,
    sub_id,
    direction,
    copy,
    packets,
    octets,
    packets_est,
    octets_est,
    sampling,
    sampling_source,
    tcp_flags,
    flags,
    in_if,
    out_if,
    src_as,
    dst_as,
    received
FROM flowtide_all.flows;

CREATE OR REPLACE VIEW v_bucket_1m ON CLUSTER c AS
SELECT
    time, exporter, service, segment, access, sub_group, ip_version, direction, bucket,
    sum(r.flows) AS flows,
    sum(r.packets) AS packets,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS octets,
    sum(r.octets_est) AS octets_est
FROM bucket_1m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW flowtide_all.v_bucket_1m ON CLUSTER c AS
SELECT
    time, exporter, service, segment, access, sub_group, ip_version, direction, bucket,
    sum(r.flows) AS flows,
    sum(r.packets) AS packets,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS octets,
    sum(r.octets_est) AS octets_est
FROM flowtide_all.bucket_1m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

-- 0006 exporters

CREATE TABLE IF NOT EXISTS interface_counter ON CLUSTER c
(
    time DateTime('UTC'),
    collector LowCardinality(String),
    exporter LowCardinality(String),
    domain UInt32,
    interface UInt32,
    speed UInt64,
    status UInt32,
    in_octets UInt64,
    in_packets UInt64,
    in_multicast UInt64,
    in_broadcast UInt64,
    in_discards UInt64,
    in_errors UInt64,
    out_octets UInt64,
    out_packets UInt64,
    out_multicast UInt64,
    out_broadcast UInt64,
    out_discards UInt64,
    out_errors UInt64
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/interface_counter', '{replica}')
PARTITION BY toYYYYMM(time, 'Asia/Tokyo')
ORDER BY (exporter, interface, time)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.interface_counter ON CLUSTER c AS flowtide.interface_counter
ENGINE = Distributed(c, flowtide, interface_counter);

CREATE TABLE IF NOT EXISTS exporter_name ON CLUSTER c
(
    time DateTime('UTC'),
    collector LowCardinality(String),
    exporter LowCardinality(String),
    domain UInt32,
    kind LowCardinality(String),
    id UInt64,
    name String,
    description String,
    speed UInt64
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/exporter_name', '{replica}', time)
ORDER BY (exporter, domain, kind, id)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.exporter_name ON CLUSTER c AS flowtide.exporter_name
ENGINE = Distributed(c, flowtide, exporter_name);

CREATE OR REPLACE VIEW v_exporter_name ON CLUSTER c AS
SELECT exporter, domain, kind, id,
    argMax(name, time) AS name, argMax(description, time) AS description, argMax(speed, time) AS speed,
    max(time) AS told
FROM exporter_name
GROUP BY exporter, domain, kind, id;

CREATE OR REPLACE VIEW flowtide_all.v_exporter_name ON CLUSTER c AS
SELECT exporter, domain, kind, id,
    argMax(name, time) AS name, argMax(description, time) AS description, argMax(speed, time) AS speed,
    max(time) AS told
FROM flowtide_all.exporter_name
GROUP BY exporter, domain, kind, id;

-- 0007 extra

ALTER TABLE flows ON CLUSTER c ADD COLUMN IF NOT EXISTS extra Map(LowCardinality(String), String) AFTER collector;

ALTER TABLE flowtide_all.flows ON CLUSTER c ADD COLUMN IF NOT EXISTS extra Map(LowCardinality(String), String) AFTER collector;

-- 0008 delivery

CREATE TABLE IF NOT EXISTS audit_1m ON CLUSTER c
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    stage LowCardinality(String),
    exporter LowCardinality(String),
    partition UInt16,
    rows Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/audit_1m', '{replica}', rows)
PARTITION BY toYYYYMM(time, 'Asia/Tokyo')
ORDER BY (time, exporter, partition, stage)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.audit_1m ON CLUSTER c AS flowtide.audit_1m
ENGINE = Distributed(c, flowtide, audit_1m);

CREATE TABLE IF NOT EXISTS bus_stream ON CLUSTER c
(
    stream String,
    partition UInt16,
    base UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/bus_stream', '{replica}')
ORDER BY (stream, partition, made)
SETTINGS replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS flowtide_all.bus_stream ON CLUSTER c AS flowtide.bus_stream
ENGINE = Distributed(c, flowtide, bus_stream);

-- 0009 rollups

CREATE TABLE IF NOT EXISTS bucket_5m ON CLUSTER c
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
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/bucket_5m', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.bucket_5m ON CLUSTER c AS flowtide.bucket_5m
ENGINE = Distributed(c, flowtide, bucket_5m);

CREATE TABLE IF NOT EXISTS bucket_1h ON CLUSTER c
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
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/bucket_1h', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMM(time, 'Asia/Tokyo')
ORDER BY (time, exporter, service, segment, access, sub_group, ip_version, direction, bucket)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.bucket_1h ON CLUSTER c AS flowtide.bucket_1h
ENGINE = Distributed(c, flowtide, bucket_1h);

CREATE TABLE IF NOT EXISTS port_1d ON CLUSTER c
(
    day Date,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    proto UInt8,
    lower_port UInt16,
    bucket LowCardinality(String),
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/port_1d', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMM(day)
ORDER BY (day, service, segment, access, ip_version, direction, proto, lower_port, bucket)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.port_1d ON CLUSTER c AS flowtide.port_1d
ENGINE = Distributed(c, flowtide, port_1d);

CREATE TABLE IF NOT EXISTS interface_1m ON CLUSTER c
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    interface UInt32,
    direction UInt8,
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/interface_1m', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (exporter, interface, direction, time)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.interface_1m ON CLUSTER c AS flowtide.interface_1m
ENGINE = Distributed(c, flowtide, interface_1m);

CREATE TABLE IF NOT EXISTS exporter_1m ON CLUSTER c
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1)),
    unmatched_flows Int64 CODEC(T64, ZSTD(1)),
    unmatched_octets_est Int64 CODEC(T64, ZSTD(1)),
    unknown_rate_flows Int64 CODEC(T64, ZSTD(1)),
    unknown_rate_octets Int64 CODEC(T64, ZSTD(1)),
    implausible_flows Int64 CODEC(T64, ZSTD(1)),
    other_point_flows Int64 CODEC(T64, ZSTD(1)),
    other_point_octets_est Int64 CODEC(T64, ZSTD(1)),
    flagged_flows Int64 CODEC(T64, ZSTD(1)),
    min_sampling SimpleAggregateFunction(min, UInt32),
    max_sampling SimpleAggregateFunction(max, UInt32)
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/exporter_1m', '{replica}')
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (time, exporter)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.exporter_1m ON CLUSTER c AS flowtide.exporter_1m
ENGINE = Distributed(c, flowtide, exporter_1m);

CREATE TABLE IF NOT EXISTS talker_5m ON CLUSTER c
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    side UInt8,
    kind LowCardinality(String),
    prefix IPv6,
    length UInt8,
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1)),
    cut Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/talker_5m', '{replica}', (flows, packets, packets_est, octets, octets_est, cut))
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (time, kind, side, prefix, length)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.talker_5m ON CLUSTER c AS flowtide.talker_5m
ENGINE = Distributed(c, flowtide, talker_5m);

CREATE TABLE IF NOT EXISTS as_5m ON CLUSTER c
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    src_as UInt32,
    dst_as UInt32,
    flows Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    packets_est Int64 CODEC(T64, ZSTD(1)),
    octets Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/as_5m', '{replica}', (flows, packets, packets_est, octets, octets_est))
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (time, src_as, dst_as)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.as_5m ON CLUSTER c AS flowtide.as_5m
ENGINE = Distributed(c, flowtide, as_5m);

CREATE TABLE IF NOT EXISTS flow_range ON CLUSTER c
(
    made DateTime DEFAULT now(),
    partition UInt16,
    a UInt64,
    b UInt64,
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
    second UInt8,
    elsewhere UInt8,
    flows_ Int64,
    packets_ Int64,
    packets_est_ Int64,
    octets_ Int64,
    octets_est_ Int64
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/flow_range', '{replica}')
PARTITION BY (partition, a, b)
ORDER BY minute
TTL made + INTERVAL 1 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.flow_range ON CLUSTER c AS flowtide.flow_range
ENGINE = Distributed(c, flowtide, flow_range);

CREATE TABLE IF NOT EXISTS port_range ON CLUSTER c
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
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/port_range', '{replica}')
PARTITION BY (partition, a, b)
ORDER BY hour
TTL made + INTERVAL 1 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.port_range ON CLUSTER c AS flowtide.port_range
ENGINE = Distributed(c, flowtide, port_range);

CREATE TABLE IF NOT EXISTS rollup_plan ON CLUSTER c
(
    rollup LowCardinality(String),
    stream String,
    partition UInt16,
    base UInt64,
    a UInt64,
    b UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/rollup_plan', '{replica}')
ORDER BY (rollup, partition, a, made)
SETTINGS replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS flowtide_all.rollup_plan ON CLUSTER c AS flowtide.rollup_plan
ENGINE = Distributed(c, flowtide, rollup_plan);

CREATE TABLE IF NOT EXISTS rollup_start ON CLUSTER c
(
    rollup LowCardinality(String),
    partition UInt16,
    start UInt64,
    made DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/rollup_start', '{replica}')
ORDER BY (rollup, partition, made)
SETTINGS replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS flowtide_all.rollup_start ON CLUSTER c AS flowtide.rollup_start
ENGINE = Distributed(c, flowtide, rollup_start);

CREATE TABLE IF NOT EXISTS rollup_hold ON CLUSTER c
(
    id String,
    reason String,
    until DateTime64(3, 'UTC'),
    made DateTime64(6, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/rollup_hold', '{replica}')
ORDER BY (id, made)
SETTINGS replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS flowtide_all.rollup_hold ON CLUSTER c AS flowtide.rollup_hold
ENGINE = Distributed(c, flowtide, rollup_hold);

-- 0010 views

CREATE TABLE IF NOT EXISTS network_name ON CLUSTER c
(
    made DateTime64(3, 'UTC'),
    prefix String,
    asn UInt32,
    name String,
    country LowCardinality(String)
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/network_name', '{shard}-{replica}')
ORDER BY (made, prefix, asn)
SETTINGS replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800;

CREATE OR REPLACE VIEW flowtide_all.network_name ON CLUSTER c AS SELECT * FROM flowtide.network_name;

CREATE OR REPLACE VIEW v_network_prefixes ON CLUSTER c AS
SELECT prefix, name, country
FROM network_name
WHERE made = (SELECT max(made) FROM network_name) AND prefix <> '';

CREATE OR REPLACE VIEW flowtide_all.v_network_prefixes ON CLUSTER c AS
SELECT prefix, name, country
FROM flowtide_all.network_name
WHERE made = (SELECT max(made) FROM flowtide_all.network_name) AND prefix <> '';

CREATE OR REPLACE VIEW v_network_as ON CLUSTER c AS
SELECT asn, name, country
FROM network_name
WHERE made = (SELECT max(made) FROM network_name) AND asn <> 0;

CREATE OR REPLACE VIEW flowtide_all.v_network_as ON CLUSTER c AS
SELECT asn, name, country
FROM flowtide_all.network_name
WHERE made = (SELECT max(made) FROM flowtide_all.network_name) AND asn <> 0;

CREATE OR REPLACE DICTIONARY flowtide.network_by_prefix ON CLUSTER c
(
    prefix String,
    name String DEFAULT '',
    country String DEFAULT ''
)
PRIMARY KEY prefix
SOURCE(CLICKHOUSE(DB 'flowtide' TABLE 'v_network_prefixes'))
LAYOUT(IP_TRIE)
LIFETIME(0);

CREATE OR REPLACE DICTIONARY flowtide_all.network_by_prefix ON CLUSTER c
(
    prefix String,
    name String DEFAULT '',
    country String DEFAULT ''
)
PRIMARY KEY prefix
SOURCE(CLICKHOUSE(DB 'flowtide_all' TABLE 'v_network_prefixes'))
LAYOUT(IP_TRIE)
LIFETIME(0);

CREATE OR REPLACE DICTIONARY flowtide.network_by_asn ON CLUSTER c
(
    asn UInt64,
    name String DEFAULT '',
    country String DEFAULT ''
)
PRIMARY KEY asn
SOURCE(CLICKHOUSE(DB 'flowtide' TABLE 'v_network_as'))
LAYOUT(HASHED())
LIFETIME(0);

CREATE OR REPLACE DICTIONARY flowtide_all.network_by_asn ON CLUSTER c
(
    asn UInt64,
    name String DEFAULT '',
    country String DEFAULT ''
)
PRIMARY KEY asn
SOURCE(CLICKHOUSE(DB 'flowtide_all' TABLE 'v_network_as'))
LAYOUT(HASHED())
LIFETIME(0);

CREATE OR REPLACE FUNCTION network_of ON CLUSTER c AS (address) -> dictGet('network_by_prefix', 'name', address);

CREATE OR REPLACE FUNCTION network_of_as ON CLUSTER c AS (asn) -> dictGet('network_by_asn', 'name', toUInt64(asn));

CREATE OR REPLACE FUNCTION address_of ON CLUSTER c AS (address) ->
    if(startsWith(IPv6NumToString(address), '::ffff:') AND position(IPv6NumToString(address), '.') > 0,
        substring(IPv6NumToString(address), 8), IPv6NumToString(address));

CREATE OR REPLACE FUNCTION prefix_range_of ON CLUSTER c AS (prefix) ->
    IPv6CIDRToRange(toIPv6(splitByChar('/', prefix)[1]),
        toUInt8(toUInt8(splitByChar('/', prefix)[2]) + if(position(prefix, ':') = 0, 96, 0)));

CREATE OR REPLACE FUNCTION in_prefix_of ON CLUSTER c AS (address, prefix) ->
    address >= prefix_range_of(prefix).1 AND address <= prefix_range_of(prefix).2;

CREATE OR REPLACE FUNCTION direction_of ON CLUSTER c AS (direction) -> transform(direction, [0, 1, 2], ['none', 'in', 'out'], '?');

CREATE OR REPLACE FUNCTION protocol_of ON CLUSTER c AS (proto) ->
    transform(proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(proto));

CREATE OR REPLACE FUNCTION lower_port_of ON CLUSTER c AS (proto, src_port, dst_port) ->
    if(proto IN (6, 17), least(src_port, dst_port), 0);

CREATE OR REPLACE FUNCTION bucket_of ON CLUSTER c AS (proto, src_port, dst_port) ->
    multiIf(
        proto = 6 AND least(src_port, dst_port) IN (80, 443), concat('tcp/', toString(least(src_port, dst_port))),
        proto = 17 AND least(src_port, dst_port) = 443, 'udp/443',
        proto IN (6, 17), concat(if(proto = 6, 'tcp', 'udp'), if(least(src_port, dst_port) < 1024, '/<1024', '/>=1024')),
        transform(proto, [50, 47, 4, 41, 1, 58], ['esp', 'gre', 'ipip', 'ipv6', 'icmp', 'icmp6'], 'other'));

CREATE OR REPLACE FUNCTION share_of ON CLUSTER c AS (part, whole) -> part / nullIf(whole, 0);

CREATE OR REPLACE FUNCTION quic_of_all ON CLUSTER c AS (bucket, octets) ->
    share_of(sumIf(octets, bucket = 'udp/443'), sum(octets));

CREATE OR REPLACE FUNCTION quic_of_443 ON CLUSTER c AS (bucket, octets) ->
    share_of(sumIf(octets, bucket = 'udp/443'), sumIf(octets, bucket IN ('tcp/443', 'udp/443')));

CREATE OR REPLACE FUNCTION quic_of_udp ON CLUSTER c AS (bucket, octets) ->
    share_of(sumIf(octets, bucket = 'udp/443'), sumIf(octets, startsWith(bucket, 'udp/')));

CREATE OR REPLACE FUNCTION error_of ON CLUSTER c AS (share, sampled_packets) ->
    1.96 * sqrt(share * (1 - share) / nullIf(sampled_packets, 0));

CREATE OR REPLACE FUNCTION log_histogram_of ON CLUSTER c AS (octets) ->
    sumMapIf([toInt16(round(10 * log10(greatest(octets, 1))))], [toUInt64(1)], octets > 0);

CREATE OR REPLACE FUNCTION number_in_bin_of ON CLUSTER c AS (histogram, bin) -> arraySum(arrayMap((b, n) -> n * (b = bin),
    histogram.1, histogram.2));

CREATE OR REPLACE FUNCTION fullest_bin_of ON CLUSTER c AS (histogram) ->
    histogram.1[indexOf(histogram.2, arrayMax(histogram.2))];

CREATE OR REPLACE FUNCTION parabola_step_of ON CLUSTER c AS (below, top, above) ->
    multiIf(2 * (toInt64(above) - toInt64(below)) > 2 * toInt64(top) - toInt64(below) - toInt64(above), 1,
        2 * (toInt64(below) - toInt64(above)) > 2 * toInt64(top) - toInt64(below) - toInt64(above), -1, 0);

CREATE OR REPLACE FUNCTION mode_of ON CLUSTER c AS (histogram) ->
    if(empty(histogram.1), NULL, exp10((2 * fullest_bin_of(histogram) + parabola_step_of(
        number_in_bin_of(histogram, fullest_bin_of(histogram) - 1),
        number_in_bin_of(histogram, fullest_bin_of(histogram)),
        number_in_bin_of(histogram, fullest_bin_of(histogram) + 1))) / 20));

CREATE OR REPLACE VIEW v_flows ON CLUSTER c AS
SELECT
    f.ts AS time,
    f.ts_start AS started,
    dateDiff('millisecond', f.ts_start, f.ts) / 1000 AS lasted,
    f.exporter AS exporter,
    f.domain AS domain,
    f.in_if AS in_if,
    f.out_if AS out_if,
    f.ip_version AS ip_version,
    f.src_addr AS src_addr,
    f.dst_addr AS dst_addr,
    replaceRegexpOne(IPv6NumToString(f.src_addr), '^::ffff:([0-9.]+)$', '\\1') AS src,
    replaceRegexpOne(IPv6NumToString(f.dst_addr), '^::ffff:([0-9.]+)$', '\\1') AS dst,
    replaceRegexpOne(IPv6NumToString(f.next_hop), '^::ffff:([0-9.]+)$', '\\1') AS next_hop,
    f.src_port AS src_port,
    f.dst_port AS dst_port,
    f.proto AS proto,
    transform(f.proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(f.proto)) AS protocol,
    f.lower_port AS lower_port,
    f.bucket AS bucket,
    f.tcp_flags AS tcp_flags,
    intDiv(f.icmp, 256) AS icmp_type,
    f.icmp % 256 AS icmp_code,
    f.tos AS tos,
    f.vlan AS vlan,
    f.src_mask AS src_mask,
    f.dst_mask AS dst_mask,
    f.src_as AS src_as,
    f.dst_as AS dst_as,
    f.sub_id AS sub_id,
    f.service AS service,
    f.segment AS segment,
    f.access AS access,
    f.sub_group AS sub_group,
    transform(f.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    f.copy AS copy,
    f.octets_est AS octets_est,
    f.packets_est AS packets_est,
    f.octets AS sampled_octets,
    f.packets AS sampled_packets,
    f.sampling AS sampling,
    transform(f.sampling_source, [0, 1, 2, 3, 4, 5, 6, 7, 8],
        ['unknown', 'record', 'sampler', 'interface', 'domain', 'header', 'setting', 'override', 'assumed'],
        '?') AS sampling_source,
    arrayMap(flag -> transform(flag, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
        ['no_flow_time', 'time_out_of_bounds', 'long_duration', 'implausible', 'sampling_unknown', 'held', 'truncated',
            'ambiguous_lease', 'unsound_packet', 'other_point'], toString(flag)), bitmaskToArray(f.flags)) AS flags,
    bitAnd(f.flags, 24) = 0 AS sound,
    f.received AS received,
    f.collector AS collector,
    f.extra AS extra
FROM flows AS f;

CREATE OR REPLACE VIEW flowtide_all.v_flows ON CLUSTER c AS
SELECT
    f.ts AS time,
    f.ts_start AS started,
    dateDiff('millisecond', f.ts_start, f.ts) / 1000 AS lasted,
    f.exporter AS exporter,
    f.domain AS domain,
    f.in_if AS in_if,
    f.out_if AS out_if,
    f.ip_version AS ip_version,
    f.src_addr AS src_addr,
    f.dst_addr AS dst_addr,
    replaceRegexpOne(IPv6NumToString(f.src_addr), '^::ffff:([0-9.]+)$', '\\1') AS src,
    replaceRegexpOne(IPv6NumToString(f.dst_addr), '^::ffff:([0-9.]+)$', '\\1') AS dst,
    replaceRegexpOne(IPv6NumToString(f.next_hop), '^::ffff:([0-9.]+)$', '\\1') AS next_hop,
    f.src_port AS src_port,
    f.dst_port AS dst_port,
    f.proto AS proto,
    transform(f.proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(f.proto)) AS protocol,
    f.lower_port AS lower_port,
    f.bucket AS bucket,
    f.tcp_flags AS tcp_flags,
    intDiv(f.icmp, 256) AS icmp_type,
    f.icmp % 256 AS icmp_code,
    f.tos AS tos,
    f.vlan AS vlan,
    f.src_mask AS src_mask,
    f.dst_mask AS dst_mask,
    f.src_as AS src_as,
    f.dst_as AS dst_as,
    f.sub_id AS sub_id,
    f.service AS service,
    f.segment AS segment,
    f.access AS access,
    f.sub_group AS sub_group,
    transform(f.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    f.copy AS copy,
    f.octets_est AS octets_est,
    f.packets_est AS packets_est,
    f.octets AS sampled_octets,
    f.packets AS sampled_packets,
    f.sampling AS sampling,
    transform(f.sampling_source, [0, 1, 2, 3, 4, 5, 6, 7, 8],
        ['unknown', 'record', 'sampler', 'interface', 'domain', 'header', 'setting', 'override', 'assumed'],
        '?') AS sampling_source,
    arrayMap(flag -> transform(flag, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
        ['no_flow_time', 'time_out_of_bounds', 'long_duration', 'implausible', 'sampling_unknown', 'held', 'truncated',
            'ambiguous_lease', 'unsound_packet', 'other_point'], toString(flag)), bitmaskToArray(f.flags)) AS flags,
    bitAnd(f.flags, 24) = 0 AS sound,
    f.received AS received,
    f.collector AS collector,
    f.extra AS extra
FROM flowtide_all.flows AS f;

CREATE OR REPLACE VIEW v_buckets ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM bucket_1m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW flowtide_all.v_buckets ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.bucket_1m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW v_buckets_5m ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM bucket_5m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW flowtide_all.v_buckets_5m ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.bucket_5m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW v_buckets_1h ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM bucket_1h AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW flowtide_all.v_buckets_1h ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.bucket_1h AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW v_buckets_end ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM bucket_end_5m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW flowtide_all.v_buckets_end ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.sub_group AS sub_group,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.bucket AS bucket,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.bucket_end_5m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;

CREATE OR REPLACE VIEW v_ports ON CLUSTER c AS
SELECT
    r.hour AS hour,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.proto AS proto,
    transform(r.proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(r.proto)) AS protocol,
    r.lower_port AS lower_port,
    if(r.proto IN (6, 17), concat(protocol, '/', toString(r.lower_port)), r.bucket) AS port,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM port_1h AS r
GROUP BY hour, service, segment, access, ip_version, direction, proto, protocol, lower_port, port;

CREATE OR REPLACE VIEW flowtide_all.v_ports ON CLUSTER c AS
SELECT
    r.hour AS hour,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.proto AS proto,
    transform(r.proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(r.proto)) AS protocol,
    r.lower_port AS lower_port,
    if(r.proto IN (6, 17), concat(protocol, '/', toString(r.lower_port)), r.bucket) AS port,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.port_1h AS r
GROUP BY hour, service, segment, access, ip_version, direction, proto, protocol, lower_port, port;

CREATE OR REPLACE VIEW v_ports_1d ON CLUSTER c AS
SELECT
    r.day AS day,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.proto AS proto,
    transform(r.proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(r.proto)) AS protocol,
    r.lower_port AS lower_port,
    if(r.proto IN (6, 17), concat(protocol, '/', toString(r.lower_port)), r.bucket) AS port,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM port_1d AS r
GROUP BY day, service, segment, access, ip_version, direction, proto, protocol, lower_port, port;

CREATE OR REPLACE VIEW flowtide_all.v_ports_1d ON CLUSTER c AS
SELECT
    r.day AS day,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    r.ip_version AS ip_version,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    r.proto AS proto,
    transform(r.proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(r.proto)) AS protocol,
    r.lower_port AS lower_port,
    if(r.proto IN (6, 17), concat(protocol, '/', toString(r.lower_port)), r.bucket) AS port,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.port_1d AS r
GROUP BY day, service, segment, access, ip_version, direction, proto, protocol, lower_port, port;

CREATE OR REPLACE VIEW v_subscribers ON CLUSTER c AS
SELECT
    r.day AS day,
    r.sub_id AS sub_id,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM subscriber_1d AS r
GROUP BY day, sub_id, service, segment, access, direction;

CREATE OR REPLACE VIEW flowtide_all.v_subscribers ON CLUSTER c AS
SELECT
    r.day AS day,
    r.sub_id AS sub_id,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.subscriber_1d AS r
GROUP BY day, sub_id, service, segment, access, direction;

CREATE OR REPLACE VIEW v_quality ON CLUSTER c AS
SELECT h.time AS time, 'exporter' AS part, h.exporter AS name, h.domain AS domain, h.collector AS collector,
    h.counter AS counter, sum(h.value) AS value
FROM exporter_health_1m AS h
GROUP BY time, name, domain, collector, counter
UNION ALL
SELECT s.time AS time, 'stage' AS part, s.stage AS name, toUInt32(0) AS domain, s.collector AS collector,
    s.counter AS counter, sum(s.value) AS value
FROM stage_1m AS s
GROUP BY time, name, collector, counter;

CREATE OR REPLACE VIEW flowtide_all.v_quality ON CLUSTER c AS
SELECT h.time AS time, 'exporter' AS part, h.exporter AS name, h.domain AS domain, h.collector AS collector,
    h.counter AS counter, sum(h.value) AS value
FROM flowtide_all.exporter_health_1m AS h
GROUP BY time, name, domain, collector, counter
UNION ALL
SELECT s.time AS time, 'stage' AS part, s.stage AS name, toUInt32(0) AS domain, s.collector AS collector,
    s.counter AS counter, sum(s.value) AS value
FROM flowtide_all.stage_1m AS s
GROUP BY time, name, collector, counter;

CREATE OR REPLACE VIEW v_interfaces ON CLUSTER c AS
SELECT
    i.time AS time, i.exporter AS exporter, i.interface AS interface, n.name AS name, n.speed AS speed,
    i.direction AS direction, i.flows AS flows, i.octets_est AS octets_est, i.packets_est AS packets_est,
    i.sampled_octets AS sampled_octets, i.sampled_packets AS sampled_packets
FROM
(
    SELECT
        r.time AS time, r.exporter AS exporter, r.interface AS interface,
        transform(r.direction, [1, 2], ['in', 'out'], '?') AS direction,
    sum(r.flows) AS flows,
        sum(r.octets_est) AS octets_est,
        sum(r.packets_est) AS packets_est,
        sum(r.octets) AS sampled_octets,
        sum(r.packets) AS sampled_packets
    FROM interface_1m AS r
    GROUP BY time, exporter, interface, direction
) AS i
LEFT JOIN
(
    SELECT e.exporter AS exporter, toUInt32(e.id) AS interface, argMax(e.name, e.time) AS name,
        argMax(e.speed, e.time) AS speed
    FROM exporter_name AS e
    WHERE e.kind = 'interface' AND e.id < 4294967296
    GROUP BY exporter, interface
) AS n ON n.exporter = i.exporter AND n.interface = i.interface;

CREATE OR REPLACE VIEW flowtide_all.v_interfaces ON CLUSTER c AS
SELECT
    i.time AS time, i.exporter AS exporter, i.interface AS interface, n.name AS name, n.speed AS speed,
    i.direction AS direction, i.flows AS flows, i.octets_est AS octets_est, i.packets_est AS packets_est,
    i.sampled_octets AS sampled_octets, i.sampled_packets AS sampled_packets
FROM
(
    SELECT
        r.time AS time, r.exporter AS exporter, r.interface AS interface,
        transform(r.direction, [1, 2], ['in', 'out'], '?') AS direction,
    sum(r.flows) AS flows,
        sum(r.octets_est) AS octets_est,
        sum(r.packets_est) AS packets_est,
        sum(r.octets) AS sampled_octets,
        sum(r.packets) AS sampled_packets
    FROM flowtide_all.interface_1m AS r
    GROUP BY time, exporter, interface, direction
) AS i
LEFT JOIN
(
    SELECT e.exporter AS exporter, toUInt32(e.id) AS interface, argMax(e.name, e.time) AS name,
        argMax(e.speed, e.time) AS speed
    FROM flowtide_all.exporter_name AS e
    WHERE e.kind = 'interface' AND e.id < 4294967296
    GROUP BY exporter, interface
) AS n ON n.exporter = i.exporter AND n.interface = i.interface;

CREATE OR REPLACE VIEW v_exporters ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets,
    sum(r.unmatched_flows) AS unmatched_flows,
    sum(r.unmatched_octets_est) AS unmatched_octets_est,
    sum(r.unknown_rate_flows) AS unknown_rate_flows,
    sum(r.unknown_rate_octets) AS unknown_rate_octets,
    sum(r.implausible_flows) AS implausible_flows,
    sum(r.other_point_flows) AS other_point_flows,
    sum(r.other_point_octets_est) AS other_point_octets_est,
    sum(r.flagged_flows) AS flagged_flows,
    min(r.min_sampling) AS min_sampling,
    max(r.max_sampling) AS max_sampling
FROM exporter_1m AS r
GROUP BY time, exporter;

CREATE OR REPLACE VIEW flowtide_all.v_exporters ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets,
    sum(r.unmatched_flows) AS unmatched_flows,
    sum(r.unmatched_octets_est) AS unmatched_octets_est,
    sum(r.unknown_rate_flows) AS unknown_rate_flows,
    sum(r.unknown_rate_octets) AS unknown_rate_octets,
    sum(r.implausible_flows) AS implausible_flows,
    sum(r.other_point_flows) AS other_point_flows,
    sum(r.other_point_octets_est) AS other_point_octets_est,
    sum(r.flagged_flows) AS flagged_flows,
    min(r.min_sampling) AS min_sampling,
    max(r.max_sampling) AS max_sampling
FROM flowtide_all.exporter_1m AS r
GROUP BY time, exporter;

CREATE OR REPLACE VIEW v_talkers ON CLUSTER c AS
SELECT
    r.time AS time,
    transform(r.side, [1, 2], ['source', 'destination'], '?') AS side,
    r.kind AS kind,
    r.prefix AS address,
    multiIf(
        r.length = 0, 'other',
        r.length = 128, replaceRegexpOne(IPv6NumToString(r.prefix), '^::ffff:([0-9.]+)$', '\\1'),
        position(IPv6NumToString(r.prefix), '.') > 0,
        concat(replaceRegexpOne(IPv6NumToString(r.prefix), '^::ffff:([0-9.]+)$', '\\1'), '/', toString(r.length - 96)),
        concat(IPv6NumToString(r.prefix), '/', toString(r.length))) AS talker,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets,
    sum(r.cut) AS cut
FROM talker_5m AS r
GROUP BY time, side, kind, address, talker;

CREATE OR REPLACE VIEW flowtide_all.v_talkers ON CLUSTER c AS
SELECT
    r.time AS time,
    transform(r.side, [1, 2], ['source', 'destination'], '?') AS side,
    r.kind AS kind,
    r.prefix AS address,
    multiIf(
        r.length = 0, 'other',
        r.length = 128, replaceRegexpOne(IPv6NumToString(r.prefix), '^::ffff:([0-9.]+)$', '\\1'),
        position(IPv6NumToString(r.prefix), '.') > 0,
        concat(replaceRegexpOne(IPv6NumToString(r.prefix), '^::ffff:([0-9.]+)$', '\\1'), '/', toString(r.length - 96)),
        concat(IPv6NumToString(r.prefix), '/', toString(r.length))) AS talker,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets,
    sum(r.cut) AS cut
FROM flowtide_all.talker_5m AS r
GROUP BY time, side, kind, address, talker;

CREATE OR REPLACE VIEW v_as ON CLUSTER c AS
SELECT
    r.time AS time,
    r.src_as AS src_as,
    r.dst_as AS dst_as,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM as_5m AS r
GROUP BY time, src_as, dst_as;

CREATE OR REPLACE VIEW flowtide_all.v_as ON CLUSTER c AS
SELECT
    r.time AS time,
    r.src_as AS src_as,
    r.dst_as AS dst_as,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM flowtide_all.as_5m AS r
GROUP BY time, src_as, dst_as;

-- 0011 analyst

CREATE OR REPLACE VIEW v_groups_1d ON CLUSTER c DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    r.day AS day,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    uniqExact(r.sub_id) AS subscribers,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est
FROM subscriber_1d AS r
GROUP BY day, service, segment, access, direction
HAVING subscribers >= 20;

CREATE OR REPLACE VIEW flowtide_all.v_groups_1d ON CLUSTER c DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    r.day AS day,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    uniqExact(r.sub_id) AS subscribers,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est
FROM flowtide_all.subscriber_1d AS r
GROUP BY day, service, segment, access, direction
HAVING subscribers >= 20;

-- 0012 sampling_sources

ALTER TABLE exporter_1m ON CLUSTER c ADD COLUMN IF NOT EXISTS sampling_sources SimpleAggregateFunction(groupBitOr, UInt16);

ALTER TABLE flowtide_all.exporter_1m ON CLUSTER c ADD COLUMN IF NOT EXISTS sampling_sources SimpleAggregateFunction(groupBitOr, UInt16);

CREATE OR REPLACE VIEW v_exporters ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets,
    sum(r.unmatched_flows) AS unmatched_flows,
    sum(r.unmatched_octets_est) AS unmatched_octets_est,
    sum(r.unknown_rate_flows) AS unknown_rate_flows,
    sum(r.unknown_rate_octets) AS unknown_rate_octets,
    sum(r.implausible_flows) AS implausible_flows,
    sum(r.other_point_flows) AS other_point_flows,
    sum(r.other_point_octets_est) AS other_point_octets_est,
    sum(r.flagged_flows) AS flagged_flows,
    min(r.min_sampling) AS min_sampling,
    max(r.max_sampling) AS max_sampling,
    arrayMap(bit -> transform(bit, [0, 1, 2, 3, 4, 5, 6, 7, 8],
        ['unknown', 'record', 'sampler', 'interface', 'domain', 'header', 'setting', 'override', 'assumed'],
        toString(bit)), bitPositionsToArray(groupBitOr(r.sampling_sources))) AS sampling_sources
FROM exporter_1m AS r
GROUP BY time, exporter;

CREATE OR REPLACE VIEW flowtide_all.v_exporters ON CLUSTER c AS
SELECT
    r.time AS time,
    r.exporter AS exporter,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets,
    sum(r.unmatched_flows) AS unmatched_flows,
    sum(r.unmatched_octets_est) AS unmatched_octets_est,
    sum(r.unknown_rate_flows) AS unknown_rate_flows,
    sum(r.unknown_rate_octets) AS unknown_rate_octets,
    sum(r.implausible_flows) AS implausible_flows,
    sum(r.other_point_flows) AS other_point_flows,
    sum(r.other_point_octets_est) AS other_point_octets_est,
    sum(r.flagged_flows) AS flagged_flows,
    min(r.min_sampling) AS min_sampling,
    max(r.max_sampling) AS max_sampling,
    arrayMap(bit -> transform(bit, [0, 1, 2, 3, 4, 5, 6, 7, 8],
        ['unknown', 'record', 'sampler', 'interface', 'domain', 'header', 'setting', 'override', 'assumed'],
        toString(bit)), bitPositionsToArray(groupBitOr(r.sampling_sources))) AS sampling_sources
FROM flowtide_all.exporter_1m AS r
GROUP BY time, exporter;

-- 0013 subscribers

CREATE TABLE IF NOT EXISTS accounting_1d ON CLUSTER c
(
    day Date,
    source LowCardinality(String),
    made DateTime64(6, 'UTC'),
    sub_id UInt64,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    volume_source LowCardinality(String),
    in_octets Int64 CODEC(T64, ZSTD(1)),
    out_octets Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/accounting_1d', '{shard}-{replica}')
PARTITION BY toYYYYMM(day)
ORDER BY (day, source, made, sub_id, access)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.accounting_1d ON CLUSTER c AS SELECT * FROM flowtide.accounting_1d;

CREATE TABLE IF NOT EXISTS accounting_import ON CLUSTER c
(
    day Date,
    source LowCardinality(String),
    made DateTime64(6, 'UTC'),
    rows UInt64,
    in_octets Int64,
    out_octets Int64,
    checksum String
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/accounting_import', '{shard}-{replica}')
ORDER BY (day, source, made)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.accounting_import ON CLUSTER c AS SELECT * FROM flowtide.accounting_import;

CREATE TABLE IF NOT EXISTS subscriber_seen_1d ON CLUSTER c
(
    day Date,
    sub_id UInt64,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    made DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/subscriber_seen_1d', '{shard}-{replica}', made)
PARTITION BY toYYYYMM(day)
ORDER BY (day, sub_id, service, access)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.subscriber_seen_1d ON CLUSTER c AS SELECT * FROM flowtide.subscriber_seen_1d;

CREATE TABLE IF NOT EXISTS subscriber_name ON CLUSTER c
(
    sub_id UInt64,
    service LowCardinality(String),
    subscriber String,
    access LowCardinality(String),
    since DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/subscriber_name', '{shard}-{replica}', since)
ORDER BY sub_id
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.subscriber_name ON CLUSTER c AS SELECT * FROM flowtide.subscriber_name;

CREATE TABLE IF NOT EXISTS lease_coverage_5m ON CLUSTER c
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    prefix String,
    flows Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1)),
    attributed_flows Int64 CODEC(T64, ZSTD(1)),
    attributed_octets_est Int64 CODEC(T64, ZSTD(1)),
    ambiguous_flows Int64 CODEC(T64, ZSTD(1)),
    ambiguous_octets_est Int64 CODEC(T64, ZSTD(1)),
    unmatched_flows Int64 CODEC(T64, ZSTD(1)),
    unmatched_octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/lease_coverage_5m', '{replica}', (flows, octets_est, attributed_flows, attributed_octets_est, ambiguous_flows, ambiguous_octets_est, unmatched_flows, unmatched_octets_est))
PARTITION BY toYYYYMMDD(time, 'Asia/Tokyo')
ORDER BY (time, exporter, prefix)
TTL toDateTime(time) + INTERVAL 90 DAY
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.lease_coverage_5m ON CLUSTER c AS flowtide.lease_coverage_5m
ENGINE = Distributed(c, flowtide, lease_coverage_5m);

CREATE OR REPLACE VIEW v_accounting ON CLUSTER c AS
SELECT
    a.day AS day,
    a.source AS source,
    a.sub_id AS sub_id,
    a.service AS service,
    a.segment AS segment,
    a.access AS access,
    a.volume_source AS volume_source,
    a.in_octets AS in_octets,
    a.out_octets AS out_octets
FROM accounting_1d AS a
WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM accounting_import GROUP BY day, source);

CREATE OR REPLACE VIEW flowtide_all.v_accounting ON CLUSTER c AS
SELECT
    a.day AS day,
    a.source AS source,
    a.sub_id AS sub_id,
    a.service AS service,
    a.segment AS segment,
    a.access AS access,
    a.volume_source AS volume_source,
    a.in_octets AS in_octets,
    a.out_octets AS out_octets
FROM flowtide_all.accounting_1d AS a
WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM flowtide_all.accounting_import GROUP BY day, source);

CREATE OR REPLACE VIEW v_subscribers_seen ON CLUSTER c AS
SELECT
    s.day AS day,
    s.sub_id AS sub_id,
    s.service AS service,
    argMax(s.segment, s.made) AS segment,
    s.access AS access
FROM subscriber_seen_1d AS s
GROUP BY day, sub_id, service, access;

CREATE OR REPLACE VIEW flowtide_all.v_subscribers_seen ON CLUSTER c AS
SELECT
    s.day AS day,
    s.sub_id AS sub_id,
    s.service AS service,
    argMax(s.segment, s.made) AS segment,
    s.access AS access
FROM flowtide_all.subscriber_seen_1d AS s
GROUP BY day, sub_id, service, access;

CREATE OR REPLACE VIEW v_user_day ON CLUSTER c AS
WITH
    (
        SELECT mapFromArrays(groupArray(scope), groupArray(told))
        FROM
        (
            SELECT substring(name, length('volume_source:') + 1) AS scope, argMax(value, made) AS told
            FROM setting
            WHERE startsWith(name, 'volume_source:')
            GROUP BY name
        )
        WHERE told != ''
    ) AS chosen
SELECT
    u.day AS day,
    u.sub_id AS sub_id,
    u.service AS service,
    u.segment AS segment,
    u.access AS access,
    u.volume_source AS volume_source,
    sum(u.in_octets) AS in_octets,
    sum(u.out_octets) AS out_octets
FROM
(
    SELECT
        r.day AS day, r.sub_id AS sub_id, r.service AS service, r.segment AS segment, r.access AS access,
        'netflow' AS volume_source,
        if(r.direction = 1, r.octets_est, 0) AS in_octets,
        if(r.direction = 2, r.octets_est, 0) AS out_octets
    FROM subscriber_1d AS r
    UNION ALL
    SELECT
        a.day, a.sub_id, a.service, a.segment, a.access, 'accounting', a.in_octets, a.out_octets
    FROM accounting_1d AS a
    WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM accounting_import GROUP BY day, source)
) AS u
WHERE volume_source = if(mapContains(chosen, concat(u.service, '/', u.access)), chosen[concat(u.service, '/', u.access)],
    if(u.service = 'mobile' OR u.access = 'ipoe', 'accounting', 'netflow'))
GROUP BY day, sub_id, service, segment, access, volume_source;

CREATE OR REPLACE VIEW flowtide_all.v_user_day ON CLUSTER c AS
WITH
    (
        SELECT mapFromArrays(groupArray(scope), groupArray(told))
        FROM
        (
            SELECT substring(name, length('volume_source:') + 1) AS scope, argMax(value, made) AS told
            FROM flowtide_all.setting
            WHERE startsWith(name, 'volume_source:')
            GROUP BY name
        )
        WHERE told != ''
    ) AS chosen
SELECT
    u.day AS day,
    u.sub_id AS sub_id,
    u.service AS service,
    u.segment AS segment,
    u.access AS access,
    u.volume_source AS volume_source,
    sum(u.in_octets) AS in_octets,
    sum(u.out_octets) AS out_octets
FROM
(
    SELECT
        r.day AS day, r.sub_id AS sub_id, r.service AS service, r.segment AS segment, r.access AS access,
        'netflow' AS volume_source,
        if(r.direction = 1, r.octets_est, 0) AS in_octets,
        if(r.direction = 2, r.octets_est, 0) AS out_octets
    FROM flowtide_all.subscriber_1d AS r
    UNION ALL
    SELECT
        a.day, a.sub_id, a.service, a.segment, a.access, 'accounting', a.in_octets, a.out_octets
    FROM flowtide_all.accounting_1d AS a
    WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM flowtide_all.accounting_import GROUP BY day, source)
) AS u
WHERE volume_source = if(mapContains(chosen, concat(u.service, '/', u.access)), chosen[concat(u.service, '/', u.access)],
    if(u.service = 'mobile' OR u.access = 'ipoe', 'accounting', 'netflow'))
GROUP BY day, sub_id, service, segment, access, volume_source;

-- 0014 alerts

CREATE TABLE IF NOT EXISTS alert_history ON CLUSTER c
(
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    uid LowCardinality(String),
    rule LowCardinality(String),
    title LowCardinality(String),
    severity LowCardinality(String),
    state LowCardinality(String),
    labels Map(String, String),
    values Map(String, Float64),
    summary String,
    reason String,
    started DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/alert_history', '{replica}')
PARTITION BY toYYYYMM(time, 'Asia/Tokyo')
ORDER BY (time, uid)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE TABLE IF NOT EXISTS flowtide_all.alert_history ON CLUSTER c AS flowtide.alert_history
ENGINE = Distributed(c, flowtide, alert_history);

-- 0015 report

CREATE TABLE IF NOT EXISTS report_week ON CLUSTER c
(
    monday Date,
    service LowCardinality(String),
    origin LowCardinality(String),
    made DateTime64(6, 'UTC'),
    until Date,
    label String,
    method LowCardinality(String),
    zone LowCardinality(String),
    school_week UInt8,
    hours UInt16,
    missing_hours Array(DateTime('UTC')),
    octets Int64,
    unmatched_octets Int64,
    sampling Float64,
    packets Int64,
    facts String,
    checksum String
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/report_week', '{shard}-{replica}')
ORDER BY (monday, service, origin, made)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.report_week ON CLUSTER c AS SELECT * FROM flowtide.report_week;

CREATE TABLE IF NOT EXISTS report_week_hour ON CLUSTER c
(
    monday Date,
    service LowCardinality(String),
    origin LowCardinality(String),
    made DateTime64(6, 'UTC'),
    hour UInt16,
    kind LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    ip_version UInt8,
    direction UInt8,
    bucket LowCardinality(String),
    volume_source LowCardinality(String),
    profile LowCardinality(String),
    octets Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/report_week_hour', '{shard}-{replica}')
ORDER BY (monday, service, origin, made, kind, segment, access, ip_version, direction, bucket, volume_source, hour)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.report_week_hour ON CLUSTER c AS SELECT * FROM flowtide.report_week_hour;

CREATE TABLE IF NOT EXISTS report_week_user ON CLUSTER c
(
    monday Date,
    service LowCardinality(String),
    origin LowCardinality(String),
    made DateTime64(6, 'UTC'),
    direction UInt8,
    seen UInt64,
    users UInt64,
    zero UInt64,
    octets Int64,
    mean Float64,
    median Float64,
    mode Nullable(Float64),
    top10 Nullable(Float64),
    top1 Nullable(Float64),
    bins Array(Int16),
    numbers Array(UInt64),
    sample Array(Int64),
    packets Int64,
    sampled_octets Int64
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/report_week_user', '{shard}-{replica}')
ORDER BY (monday, service, origin, made, direction)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.report_week_user ON CLUSTER c AS SELECT * FROM flowtide.report_week_user;

CREATE TABLE IF NOT EXISTS report_week_port ON CLUSTER c
(
    monday Date,
    service LowCardinality(String),
    origin LowCardinality(String),
    made DateTime64(6, 'UTC'),
    access LowCardinality(String),
    ip_version UInt8,
    proto UInt8,
    port Int32,
    octets Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    share Float64
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/report_week_port', '{shard}-{replica}')
ORDER BY (monday, service, origin, made, access, ip_version, proto, port)
SETTINGS default_compression_codec = 'ZSTD(1)', replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

CREATE OR REPLACE VIEW flowtide_all.report_week_port ON CLUSTER c AS SELECT * FROM flowtide.report_week_port;

CREATE OR REPLACE VIEW v_report_week ON CLUSTER c AS
SELECT
    w.monday AS monday,
    w.service AS service,
    w.origin AS origin,
    w.made AS made,
    w.until AS until,
    if(w.label = '', toString(w.monday), w.label) AS label,
    w.method AS method,
    w.zone AS zone,
    w.school_week AS school_week,
    w.hours AS hours,
    w.missing_hours AS missing_hours,
    w.octets AS octets,
    w.unmatched_octets AS unmatched_octets,
    w.sampling AS sampling,
    w.packets AS packets,
    w.facts AS facts,
    w.checksum AS checksum
FROM report_week AS w
WHERE (w.monday, w.service, w.origin, w.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW flowtide_all.v_report_week ON CLUSTER c AS
SELECT
    w.monday AS monday,
    w.service AS service,
    w.origin AS origin,
    w.made AS made,
    w.until AS until,
    if(w.label = '', toString(w.monday), w.label) AS label,
    w.method AS method,
    w.zone AS zone,
    w.school_week AS school_week,
    w.hours AS hours,
    w.missing_hours AS missing_hours,
    w.octets AS octets,
    w.unmatched_octets AS unmatched_octets,
    w.sampling AS sampling,
    w.packets AS packets,
    w.facts AS facts,
    w.checksum AS checksum
FROM flowtide_all.report_week AS w
WHERE (w.monday, w.service, w.origin, w.made) IN (
    SELECT monday, service, origin, max(made) FROM flowtide_all.report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW v_report_week_hour ON CLUSTER c AS
SELECT
    h.monday AS monday,
    h.service AS service,
    h.origin AS origin,
    h.hour AS hour,
    h.kind AS kind,
    h.segment AS segment,
    h.access AS access,
    h.ip_version AS ip_version,
    transform(h.direction, [0, 1, 2], ['both', 'in', 'out'], '?') AS direction,
    h.bucket AS bucket,
    h.volume_source AS volume_source,
    h.profile AS profile,
    h.octets AS octets
FROM report_week_hour AS h
WHERE (h.monday, h.service, h.origin, h.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW flowtide_all.v_report_week_hour ON CLUSTER c AS
SELECT
    h.monday AS monday,
    h.service AS service,
    h.origin AS origin,
    h.hour AS hour,
    h.kind AS kind,
    h.segment AS segment,
    h.access AS access,
    h.ip_version AS ip_version,
    transform(h.direction, [0, 1, 2], ['both', 'in', 'out'], '?') AS direction,
    h.bucket AS bucket,
    h.volume_source AS volume_source,
    h.profile AS profile,
    h.octets AS octets
FROM flowtide_all.report_week_hour AS h
WHERE (h.monday, h.service, h.origin, h.made) IN (
    SELECT monday, service, origin, max(made) FROM flowtide_all.report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW v_report_week_user ON CLUSTER c AS
SELECT
    u.monday AS monday,
    u.service AS service,
    u.origin AS origin,
    transform(u.direction, [1, 2], ['in', 'out'], '?') AS direction,
    u.seen AS seen,
    u.users AS users,
    u.zero AS zero,
    u.octets AS octets,
    u.mean AS mean,
    u.median AS median,
    u.mode AS mode,
    u.top10 AS top10,
    u.top1 AS top1,
    u.bins AS bins,
    u.numbers AS numbers,
    u.sample AS sample,
    u.packets AS packets,
    u.sampled_octets AS sampled_octets
FROM report_week_user AS u
WHERE (u.monday, u.service, u.origin, u.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW flowtide_all.v_report_week_user ON CLUSTER c AS
SELECT
    u.monday AS monday,
    u.service AS service,
    u.origin AS origin,
    transform(u.direction, [1, 2], ['in', 'out'], '?') AS direction,
    u.seen AS seen,
    u.users AS users,
    u.zero AS zero,
    u.octets AS octets,
    u.mean AS mean,
    u.median AS median,
    u.mode AS mode,
    u.top10 AS top10,
    u.top1 AS top1,
    u.bins AS bins,
    u.numbers AS numbers,
    u.sample AS sample,
    u.packets AS packets,
    u.sampled_octets AS sampled_octets
FROM flowtide_all.report_week_user AS u
WHERE (u.monday, u.service, u.origin, u.made) IN (
    SELECT monday, service, origin, max(made) FROM flowtide_all.report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW v_report_week_port ON CLUSTER c AS
SELECT
    p.monday AS monday,
    p.service AS service,
    p.origin AS origin,
    p.access AS access,
    p.ip_version AS ip_version,
    p.proto AS proto,
    transform(p.proto, [0, 1, 4, 6, 17, 41, 47, 50, 58, 255],
        ['all', 'icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6', 'other'], toString(p.proto)) AS protocol,
    multiIf(p.port = -1, protocol, p.port = -2, concat(protocol, '/<1024'), p.port = -3, concat(protocol, '/>=1024'),
        concat(protocol, '/', toString(p.port))) AS port,
    p.octets AS octets,
    p.packets AS sampled_packets,
    p.share AS share
FROM report_week_port AS p
WHERE (p.monday, p.service, p.origin, p.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW flowtide_all.v_report_week_port ON CLUSTER c AS
SELECT
    p.monday AS monday,
    p.service AS service,
    p.origin AS origin,
    p.access AS access,
    p.ip_version AS ip_version,
    p.proto AS proto,
    transform(p.proto, [0, 1, 4, 6, 17, 41, 47, 50, 58, 255],
        ['all', 'icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6', 'other'], toString(p.proto)) AS protocol,
    multiIf(p.port = -1, protocol, p.port = -2, concat(protocol, '/<1024'), p.port = -3, concat(protocol, '/>=1024'),
        concat(protocol, '/', toString(p.port))) AS port,
    p.octets AS octets,
    p.packets AS sampled_packets,
    p.share AS share
FROM flowtide_all.report_week_port AS p
WHERE (p.monday, p.service, p.origin, p.made) IN (
    SELECT monday, service, origin, max(made) FROM flowtide_all.report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW v_volume_month ON CLUSTER c DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (
        SELECT mapFromArrays(groupArray(scope), groupArray(told))
        FROM
        (
            SELECT substring(name, length('volume_source:') + 1) AS scope, argMax(value, made) AS told
            FROM setting
            WHERE startsWith(name, 'volume_source:')
            GROUP BY name
        )
        WHERE told != ''
    ) AS chosen
SELECT
    d.month AS month,
    d.service AS service,
    d.segment AS segment,
    d.access AS access,
    transform(d.direction, [1, 2], ['in', 'out'], '?') AS direction,
    d.volume_source AS volume_source,
    sum(d.octets_) AS octets,
    any(d.days) AS days_told
FROM
(
    SELECT
        toStartOfMonth(u.day) AS month, u.service AS service, u.segment AS segment, u.access AS access,
        u.direction AS direction, u.volume_source AS volume_source, sum(u.octets) AS octets_,
        uniqExact(u.day) OVER (PARTITION BY month, service, access, volume_source) AS days
    FROM
    (
        SELECT
            toDate(r.time, 'Asia/Tokyo') AS day, r.service AS service, r.segment AS segment, r.access AS access,
            r.direction AS direction, 'netflow' AS volume_source, r.octets_est AS octets
        FROM bucket_1h AS r
        WHERE r.service != '' AND r.direction IN (1, 2)
        UNION ALL
        SELECT
            a.day, a.service, a.segment, a.access, side.1 AS direction, 'accounting', side.2 AS octets
        FROM accounting_1d AS a
        ARRAY JOIN [(toUInt8(1), a.in_octets), (toUInt8(2), a.out_octets)] AS side
        WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM accounting_import GROUP BY day, source)
    ) AS u
    WHERE volume_source = if(mapContains(chosen, concat(u.service, '/', u.access)),
        chosen[concat(u.service, '/', u.access)],
        if(u.service = 'mobile' OR u.access = 'ipoe', 'accounting', 'netflow'))
    GROUP BY u.day, month, service, segment, access, direction, volume_source
) AS d
GROUP BY month, service, segment, access, direction, volume_source;

CREATE OR REPLACE VIEW flowtide_all.v_volume_month ON CLUSTER c DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (
        SELECT mapFromArrays(groupArray(scope), groupArray(told))
        FROM
        (
            SELECT substring(name, length('volume_source:') + 1) AS scope, argMax(value, made) AS told
            FROM flowtide_all.setting
            WHERE startsWith(name, 'volume_source:')
            GROUP BY name
        )
        WHERE told != ''
    ) AS chosen
SELECT
    d.month AS month,
    d.service AS service,
    d.segment AS segment,
    d.access AS access,
    transform(d.direction, [1, 2], ['in', 'out'], '?') AS direction,
    d.volume_source AS volume_source,
    sum(d.octets_) AS octets,
    any(d.days) AS days_told
FROM
(
    SELECT
        toStartOfMonth(u.day) AS month, u.service AS service, u.segment AS segment, u.access AS access,
        u.direction AS direction, u.volume_source AS volume_source, sum(u.octets) AS octets_,
        uniqExact(u.day) OVER (PARTITION BY month, service, access, volume_source) AS days
    FROM
    (
        SELECT
            toDate(r.time, 'Asia/Tokyo') AS day, r.service AS service, r.segment AS segment, r.access AS access,
            r.direction AS direction, 'netflow' AS volume_source, r.octets_est AS octets
        FROM flowtide_all.bucket_1h AS r
        WHERE r.service != '' AND r.direction IN (1, 2)
        UNION ALL
        SELECT
            a.day, a.service, a.segment, a.access, side.1 AS direction, 'accounting', side.2 AS octets
        FROM flowtide_all.accounting_1d AS a
        ARRAY JOIN [(toUInt8(1), a.in_octets), (toUInt8(2), a.out_octets)] AS side
        WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM flowtide_all.accounting_import GROUP BY day, source)
    ) AS u
    WHERE volume_source = if(mapContains(chosen, concat(u.service, '/', u.access)),
        chosen[concat(u.service, '/', u.access)],
        if(u.service = 'mobile' OR u.access = 'ipoe', 'accounting', 'netflow'))
    GROUP BY u.day, month, service, segment, access, direction, volume_source
) AS d
GROUP BY month, service, segment, access, direction, volume_source;

-- 0016 merges

ALTER TABLE flows ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 50, min_parts_to_merge_at_once = 0;

ALTER TABLE bucket_1m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE bucket_5m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE bucket_1h ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE bucket_end_5m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE port_1h ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE port_1d ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE subscriber_1d ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE interface_1m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE exporter_1m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE talker_5m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE as_5m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE lease_coverage_5m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE exporter_health_1m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE stage_1m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE audit_1m ON CLUSTER c MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;

ALTER TABLE flow_range ON CLUSTER c MODIFY SETTING auto_statistics_types = '';

ALTER TABLE port_range ON CLUSTER c MODIFY SETTING auto_statistics_types = '';

-- 0017 flow_range

ALTER TABLE flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS said UInt8;

ALTER TABLE flowtide_all.flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS said UInt8;

ALTER TABLE flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS flagged UInt8;

ALTER TABLE flowtide_all.flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS flagged UInt8;

ALTER TABLE flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS min_sampling_ UInt32;

ALTER TABLE flowtide_all.flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS min_sampling_ UInt32;

ALTER TABLE flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS max_sampling_ UInt32;

ALTER TABLE flowtide_all.flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS max_sampling_ UInt32;

ALTER TABLE flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS sampling_sources_ UInt16;

ALTER TABLE flowtide_all.flow_range ON CLUSTER c ADD COLUMN IF NOT EXISTS sampling_sources_ UInt16;
