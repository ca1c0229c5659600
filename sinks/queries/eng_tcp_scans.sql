-- Who opens TCP connections to many and gets no further than SYN?
-- Sampling hides packets: a flow whose SYN alone was sampled looks the same.
-- group: engineers
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00, least = 20
SELECT
    src,
    count() AS flow_rows,
    uniqExact(f.dst_addr, f.dst_port) AS targets,
    arraySlice(arraySort(groupUniqArray(10)(f.dst_port)), 1, 5) AS ports
FROM v_flows AS f
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND copy = 0 AND proto = 6
    -- SYN (2) and none of FIN (1), RST (4) and ACK (16).
    AND bitAnd(f.tcp_flags, 23) = 2
GROUP BY src
HAVING targets >= {least:UInt64}
ORDER BY targets DESC, src
LIMIT 100
