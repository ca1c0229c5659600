-- How did mean, median and mode of daily usage change over the frozen weeks?
-- The factor of the mode is against the week before of the same origin and method, never across a break.
-- group: report
-- reads: report_week, report_week_user
-- example: service = fixed
SELECT
    monday, origin, label, method, direction, users, mean / 1e6 AS mean_mb, median / 1e6 AS median_mb, mode / 1e6 AS mode_mb,
    mode / any(mode) OVER
        (PARTITION BY origin, method, direction ORDER BY monday ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS factor
FROM
(
    SELECT w.monday AS monday, w.origin AS origin, w.label AS label, w.method AS method, u.direction AS direction,
        greatest(u.seen, u.users) AS users, u.mean AS mean, u.median AS median, u.mode AS mode
    FROM v_report_week AS w
    INNER JOIN v_report_week_user AS u ON u.monday = w.monday AND u.service = w.service AND u.origin = w.origin
    WHERE w.service = {service:String}
)
ORDER BY direction, monday, origin
