-- How much does a user use a day in a week: mean, median, mode, each volume from the source in force?
-- A user is a subscription on one access. Users with a lease and no record count as nothing; the mode lies on the grid
-- of reports, and is NULL of nothing.
-- group: report
-- reads: subscriber_1d, accounting_1d, subscriber_seen_1d
-- example: monday = 2026-09-21, service = mobile, segment = personal
SELECT
    direction_of(way) AS direction,
    count() AS users,
    countIf(leased) AS with_a_lease,
    countIf(told) AS with_a_record,
    countIf(octets = 0) AS users_with_nothing,
    avg(octets / 7) AS mean,
    quantileExactInclusive(0.5)(octets / 7) AS median,
    mode_of(log_histogram_of(octets / 7)) AS mode
FROM
(
    SELECT sub_id, access, max(is_leased) AS leased, max(is_told) AS told, side.1 AS way, sum(side.2) AS octets
    FROM
    (
        SELECT sub_id, access, 0 AS is_leased, 1 AS is_told, in_octets AS volume_in, out_octets AS volume_out
        FROM v_user_day
        WHERE day >= {monday:Date} AND day < {monday:Date} + 7 AND service = {service:String}
            AND segment = {segment:String}
        UNION ALL
        SELECT sub_id, access, 1, 0, 0, 0
        FROM v_subscribers_seen
        WHERE day >= {monday:Date} AND day < {monday:Date} + 7 AND service = {service:String}
            AND segment = {segment:String}
    )
    ARRAY JOIN [(1, volume_in), (2, volume_out)] AS side
    GROUP BY sub_id, access, way
)
GROUP BY way
ORDER BY way
