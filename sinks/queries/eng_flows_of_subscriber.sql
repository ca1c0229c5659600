-- Which flows had a subscriber?
-- group: engineers
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00, sub_id = 1003
SELECT time, lasted, direction, protocol, src, src_port, dst, dst_port, octets_est, packets_est, flags
FROM v_flows
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND sub_id = {sub_id:UInt64}
ORDER BY time, src, src_port, dst, dst_port, octets_est
LIMIT 1000
