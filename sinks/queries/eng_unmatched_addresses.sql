-- Which addresses belong to no subscriber although flows pass?
-- Both ends of each such flow: one of them should have had a lease.
-- group: engineers
-- reads: flows
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00
SELECT
    address_of(address) AS unmatched,
    any(network_of(address)) AS network,
    count() AS flow_rows,
    sum(octets_est) AS octets
FROM
(
    SELECT arrayJoin([f.src_addr, f.dst_addr]) AS address, f.octets_est AS octets_est
    FROM v_flows AS f
    WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND copy = 0 AND sub_id = 0 AND sound
)
GROUP BY unmatched
ORDER BY octets DESC, unmatched
LIMIT 20
