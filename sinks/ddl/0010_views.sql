-- SQL as a product: names of networks, functions, and views with stable names.  Comments come from sinks/comments.py.

-- Sets of networks.csv, each one insert, so that a new one is seen as a whole.  A set begins with a row without prefix
-- and AS whose name is the file's checksum: an emptied file is a set too.
CREATE TABLE IF NOT EXISTS network_name
(
    made DateTime64(3, 'UTC'),
    prefix String,
    asn UInt32,
    name String,
    country LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY (made, prefix, asn)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE OR REPLACE VIEW v_network_prefixes AS
SELECT prefix, name, country
FROM network_name
WHERE made = (SELECT max(made) FROM network_name) AND prefix <> '';

CREATE OR REPLACE VIEW v_network_as AS
SELECT asn, name, country
FROM network_name
WHERE made = (SELECT max(made) FROM network_name) AND asn <> 0;

-- Read again when sinks/names.py says so: SYSTEM RELOAD DICTIONARY.
CREATE OR REPLACE DICTIONARY network_by_prefix
(
    prefix String,
    name String DEFAULT '',
    country String DEFAULT ''
)
PRIMARY KEY prefix
SOURCE(CLICKHOUSE(TABLE 'v_network_prefixes'))
LAYOUT(IP_TRIE)
LIFETIME(0);

CREATE OR REPLACE DICTIONARY network_by_asn
(
    asn UInt64,
    name String DEFAULT '',
    country String DEFAULT ''
)
PRIMARY KEY asn
SOURCE(CLICKHOUSE(TABLE 'v_network_as'))
LAYOUT(HASHED())
LIFETIME(0);

-- Functions belong to the whole server, not to a database: their names end in what they are of.

CREATE OR REPLACE FUNCTION network_of AS (address) -> dictGet('network_by_prefix', 'name', address);

CREATE OR REPLACE FUNCTION network_of_as AS (asn) -> dictGet('network_by_asn', 'name', toUInt64(asn));

-- Addresses at rest are 16 bytes; ::ffff:192.0.2.1 is 192.0.2.1.
CREATE OR REPLACE FUNCTION address_of AS (address) ->
    if(startsWith(IPv6NumToString(address), '::ffff:') AND position(IPv6NumToString(address), '.') > 0,
        substring(IPv6NumToString(address), 8), IPv6NumToString(address));

CREATE OR REPLACE FUNCTION prefix_range_of AS (prefix) ->
    IPv6CIDRToRange(toIPv6(splitByChar('/', prefix)[1]),
        toUInt8(toUInt8(splitByChar('/', prefix)[2]) + if(position(prefix, ':') = 0, 96, 0)));

-- 'prefix' as 192.0.2.0/24 or 2001:db8::/32.
CREATE OR REPLACE FUNCTION in_prefix_of AS (address, prefix) ->
    address >= prefix_range_of(prefix).1 AND address <= prefix_range_of(prefix).2;

CREATE OR REPLACE FUNCTION direction_of AS (direction) -> transform(direction, [0, 1, 2], ['none', 'in', 'out'], '?');

CREATE OR REPLACE FUNCTION protocol_of AS (proto) ->
    transform(proto, [1, 4, 6, 17, 41, 47, 50, 58], ['icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6'],
        toString(proto));

-- The lower port of TCP and UDP; no other protocol has ports, whatever stands in the fields.
CREATE OR REPLACE FUNCTION lower_port_of AS (proto, src_port, dst_port) ->
    if(proto IN (6, 17), least(src_port, dst_port), 0);

CREATE OR REPLACE FUNCTION bucket_of AS (proto, src_port, dst_port) ->
    multiIf(
        proto = 6 AND least(src_port, dst_port) IN (80, 443), concat('tcp/', toString(least(src_port, dst_port))),
        proto = 17 AND least(src_port, dst_port) = 443, 'udp/443',
        proto IN (6, 17), concat(if(proto = 6, 'tcp', 'udp'), if(least(src_port, dst_port) < 1024, '/<1024', '/>=1024')),
        transform(proto, [50, 47, 4, 41, 1, 58], ['esp', 'gre', 'ipip', 'ipv6', 'icmp', 'icmp6'], 'other'));

-- Nothing of nothing is no share: NULL, never NaN, which an alert rule would take for a value.
CREATE OR REPLACE FUNCTION share_of AS (part, whole) -> part / nullIf(whole, 0);

-- QUIC by port: an upper bound of QUIC.  Q1 of all, Q2 of port 443, Q3 of UDP; sums first, then the ratio.
CREATE OR REPLACE FUNCTION quic_of_all AS (bucket, octets) ->
    share_of(sumIf(octets, bucket = 'udp/443'), sum(octets));

CREATE OR REPLACE FUNCTION quic_of_443 AS (bucket, octets) ->
    share_of(sumIf(octets, bucket = 'udp/443'), sumIf(octets, bucket IN ('tcp/443', 'udp/443')));

CREATE OR REPLACE FUNCTION quic_of_udp AS (bucket, octets) ->
    share_of(sumIf(octets, bucket = 'udp/443'), sumIf(octets, startsWith(bucket, 'udp/')));

-- Half the width of the 95 % interval of a share that comes from so many sampled packets.
CREATE OR REPLACE FUNCTION error_of AS (share, sampled_packets) ->
    1.96 * sqrt(share * (1 - share) / nullIf(sampled_packets, 0));

-- How many values lie in each tenth of a decade, centred on its multiples: ([bin, ...], [number, ...]).
CREATE OR REPLACE FUNCTION log_histogram_of AS (octets) ->
    sumMapIf([toInt16(round(10 * log10(greatest(octets, 1))))], [toUInt64(1)], octets > 0);

CREATE OR REPLACE FUNCTION number_in_bin_of AS (histogram, bin) -> arraySum(arrayMap((b, n) -> n * (b = bin),
    histogram.1, histogram.2));

-- The fullest bin, the lowest on a tie.
CREATE OR REPLACE FUNCTION fullest_bin_of AS (histogram) ->
    histogram.1[indexOf(histogram.2, arrayMax(histogram.2))];

-- By how many twentieths of a decade the parabola through a bin and its neighbours moves its centre: -1, 0 or 1.
CREATE OR REPLACE FUNCTION parabola_step_of AS (below, top, above) ->
    multiIf(2 * (toInt64(above) - toInt64(below)) > 2 * toInt64(top) - toInt64(below) - toInt64(above), 1,
        2 * (toInt64(below) - toInt64(above)) > 2 * toInt64(top) - toInt64(below) - toInt64(above), -1, 0);

-- The mode as published reports print it: a value on the grid of twentieths of a decade; NULL of nothing.
CREATE OR REPLACE FUNCTION mode_of AS (histogram) ->
    if(empty(histogram.1), NULL, exp10((2 * fullest_bin_of(histogram) + parabola_step_of(
        number_in_bin_of(histogram, fullest_bin_of(histogram) - 1),
        number_in_bin_of(histogram, fullest_bin_of(histogram)),
        number_in_bin_of(histogram, fullest_bin_of(histogram) + 1))) / 20));

-- The engineers' interface.  A view over a rollup sums what is not merged yet; its columns are the table's, with
-- words for numbers; what the exporter sampled is named so, and nothing is named plain octets.  Views do without functions of ours: on a server those may be missing.

CREATE OR REPLACE VIEW v_flows AS
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
    -- Neither implausible (8) nor without a sampling interval (16): what sums of octets are made of.
    bitAnd(f.flags, 24) = 0 AS sound,
    f.received AS received,
    f.collector AS collector,
    f.extra AS extra
FROM flows AS f;

-- Spread: a flow longer than a minute is shared out over the minutes it lasted.

CREATE OR REPLACE VIEW v_buckets AS
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

CREATE OR REPLACE VIEW v_buckets_5m AS
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

CREATE OR REPLACE VIEW v_buckets_1h AS
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

-- By flow end: a closed bucket changes only by what came late; for shares and rules.

CREATE OR REPLACE VIEW v_buckets_end AS
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

CREATE OR REPLACE VIEW v_ports AS
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
    -- As buckets are written, for every port: tcp/993, esp.
    if(r.proto IN (6, 17), concat(protocol, '/', toString(r.lower_port)), r.bucket) AS port,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM port_1h AS r
GROUP BY hour, service, segment, access, ip_version, direction, proto, protocol, lower_port, port;

CREATE OR REPLACE VIEW v_ports_1d AS
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
    -- As buckets are written, for every port: tcp/993, esp.
    if(r.proto IN (6, 17), concat(protocol, '/', toString(r.lower_port)), r.bucket) AS port,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS sampled_octets,
    sum(r.packets) AS sampled_packets
FROM port_1d AS r
GROUP BY day, service, segment, access, ip_version, direction, proto, protocol, lower_port, port;

CREATE OR REPLACE VIEW v_subscribers AS
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

-- Every counter of exporters and stages, one row a minute and counter.
CREATE OR REPLACE VIEW v_quality AS
SELECT h.time AS time, 'exporter' AS part, h.exporter AS name, h.domain AS domain, h.collector AS collector,
    h.counter AS counter, sum(h.value) AS value
FROM exporter_health_1m AS h
GROUP BY time, name, domain, collector, counter
UNION ALL
SELECT s.time AS time, 'stage' AS part, s.stage AS name, toUInt32(0) AS domain, s.collector AS collector,
    s.counter AS counter, sum(s.value) AS value
FROM stage_1m AS s
GROUP BY time, name, collector, counter;

-- By interface, in and out of it; a flow counts at both of its interfaces.
CREATE OR REPLACE VIEW v_interfaces AS
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

CREATE OR REPLACE VIEW v_exporters AS
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

-- A kind is a breakdown of all flows: never sum two kinds, nor two sides.
CREATE OR REPLACE VIEW v_talkers AS
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

CREATE OR REPLACE VIEW v_as AS
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
