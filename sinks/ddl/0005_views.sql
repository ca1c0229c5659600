-- The engineers' interface: stable names, addresses as people write them.

CREATE OR REPLACE VIEW v_flow AS
SELECT
    ts AS time,
    ts_start AS started,
    exporter,
    domain,
    ip_version,
    -- Addresses at rest are 16 bytes; ::ffff:192.0.2.1 is 192.0.2.1.
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

CREATE OR REPLACE VIEW v_bucket_1m AS
SELECT
    time, exporter, service, segment, access, sub_group, ip_version, direction, bucket,
    sum(r.flows) AS flows,
    sum(r.packets) AS packets,
    sum(r.packets_est) AS packets_est,
    sum(r.octets) AS octets,
    sum(r.octets_est) AS octets_est
FROM bucket_1m AS r
GROUP BY time, exporter, service, segment, access, sub_group, ip_version, direction, bucket;
