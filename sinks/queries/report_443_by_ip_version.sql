-- How does port 443 split into IPv4 and IPv6, TCP and UDP?
-- group: report
-- reads: port_1d
-- example: from = 2026-09-14, to = 2026-09-22, service = mobile
SELECT
    ip_version,
    100 * share_of(sumIf(p.octets_est, proto = 6 AND lower_port = 443), sum(p.octets_est)) AS tcp_443_pct,
    100 * share_of(sumIf(p.octets_est, proto = 17 AND lower_port = 443), sum(p.octets_est)) AS udp_443_pct,
    share_of(sumIf(p.octets_est, proto = 17 AND lower_port = 443), sumIf(p.octets_est, lower_port = 443)) AS q2_of_443,
    sum(p.octets_est) AS octets
FROM port_1d AS p
WHERE day >= {from:Date} AND day < {to:Date} AND service = {service:String} AND p.direction > 0
GROUP BY ip_version
ORDER BY ip_version
