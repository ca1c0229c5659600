-- Which flows lasted long?
-- An exporter's active time-out cuts longer ones into pieces.
-- group: engineers
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00, seconds = 300
SELECT time, lasted, exporter, protocol, src, src_port, dst, dst_port, octets_est,
    octets_est * 8 / lasted AS bits_per_second
FROM v_flows
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
    AND copy <> 1 AND sound AND lasted >= {seconds:UInt32}
ORDER BY lasted DESC, time, src, src_port
LIMIT 100
