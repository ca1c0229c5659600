-- Who talked to a prefix in an hour?
-- group: engineers
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00, prefix = 198.51.100.0/24
SELECT
    if(in_prefix_of(f.src_addr, {prefix:String}), f.dst, f.src) AS peer,
    network_of(if(in_prefix_of(any(f.src_addr), {prefix:String}), any(f.dst_addr), any(f.src_addr))) AS network,
    count() AS flow_rows,
    sumIf(f.octets_est, in_prefix_of(f.dst_addr, {prefix:String})) AS octets_to,
    sumIf(f.octets_est, in_prefix_of(f.src_addr, {prefix:String})) AS octets_from
FROM v_flows AS f
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND f.copy <> 1 AND sound
    AND (in_prefix_of(f.src_addr, {prefix:String}) OR in_prefix_of(f.dst_addr, {prefix:String}))
GROUP BY peer
ORDER BY octets_to + octets_from DESC, peer
LIMIT 100
