-- Which part of a week's octets have the heaviest tenth and hundredth of the users?
-- Each direction sorted by its own octets; of round(0.1 N) and round(0.01 N) users.
-- group: report
-- reads: subscriber_1d, accounting_1d
-- example: monday = 2026-09-21, service = fixed, segment = personal
SELECT
    direction_of(way) AS direction,
    users,
    100 * share_of(arraySum(arraySlice(heaviest, 1, toUInt64(round(users * 0.1)))), arraySum(heaviest)) AS top_10_pct,
    100 * share_of(arraySum(arraySlice(heaviest, 1, toUInt64(round(users * 0.01)))), arraySum(heaviest)) AS top_1_pct
FROM
(
    SELECT way, count() AS users, arrayReverseSort(groupArray(octets)) AS heaviest
    FROM
    (
        SELECT sub_id, access, side.1 AS way, sum(side.2) AS octets
        FROM v_user_day
        ARRAY JOIN [(1, in_octets), (2, out_octets)] AS side
        WHERE day >= {monday:Date} AND day < {monday:Date} + 7 AND service = {service:String}
            AND segment = {segment:String}
        GROUP BY sub_id, access, way
    )
    GROUP BY way
)
ORDER BY way
