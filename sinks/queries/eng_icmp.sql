-- Which ICMP messages were seen?
-- group: engineers
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    protocol,
    icmp_type,
    icmp_code,
    count() AS flow_rows,
    sum(f.packets_est) AS packets,
    uniqExact(f.dst_addr) AS targets
FROM v_flows AS f
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND proto IN (1, 58) AND copy <> 1
GROUP BY protocol, icmp_type, icmp_code
ORDER BY packets DESC, protocol, icmp_type, icmp_code
