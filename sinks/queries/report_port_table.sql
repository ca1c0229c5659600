-- Which part of the traffic has each port this week, and which had it last week?
-- Both directions summed; IPoE has no port data, hence pppoe or mobile.
-- group: report
-- reads: port_1d
-- example: monday = 2026-09-21, service = fixed, access = pppoe
SELECT
    concat(protocol_of(proto), if(proto IN (6, 17), concat('/', toString(lower_port)), '')) AS port,
    octets,
    octets_last_week,
    pct,
    pct_last_week,
    pct - pct_last_week AS change
FROM
(
    -- By numbers, and only the twenty get a name: a text for each port would cost more than all the rest.
    SELECT
        proto, lower_port,
        sumIf(p.octets_est, day >= {monday:Date}) AS octets,
        sumIf(p.octets_est, day < {monday:Date}) AS octets_last_week,
        100 * share_of(octets, sum(octets) OVER ()) AS pct,
        100 * share_of(octets_last_week, sum(octets_last_week) OVER ()) AS pct_last_week
    FROM port_1d AS p
    WHERE day >= {monday:Date} - 7 AND day < {monday:Date} + 7
        AND service = {service:String} AND access = {access:String} AND p.direction > 0
    GROUP BY proto, lower_port
    ORDER BY octets DESC, octets_last_week DESC, proto, lower_port
    LIMIT 20
)
ORDER BY octets DESC, octets_last_week DESC, port
