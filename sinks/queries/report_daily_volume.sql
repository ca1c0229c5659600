-- How much does a subscriber use a day: mean, median, quantiles, mode?
-- Users seen that day; exact quantiles (quantile() is a sample); the mode lies on the grid of reports.
-- group: report
-- reads: subscriber_1d
-- example: from = 2026-09-14, to = 2026-09-22, service = fixed, segment = personal
SELECT
    day,
    direction_of(way) AS direction,
    count() AS users,
    countIf(octets = 0) AS users_with_nothing,
    avg(octets) AS mean,
    quantileExactInclusive(0.5)(octets) AS median,
    quantileExactInclusive(0.1)(octets) AS p10,
    quantileExactInclusive(0.9)(octets) AS p90,
    mode_of(log_histogram_of(octets)) AS mode
FROM
(
    SELECT day, s.direction AS way, sub_id, access, sum(s.octets_est) AS octets
    FROM subscriber_1d AS s
    WHERE day >= {from:Date} AND day < {to:Date} AND s.direction > 0
        AND service = {service:String} AND segment = {segment:String}
    -- A subscription on two accesses is two users.
    GROUP BY day, way, sub_id, access
)
GROUP BY day, way
ORDER BY day, way
