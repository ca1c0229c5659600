-- At which hours of which weekday is how much used?
-- Monday is 1. The time zone is the store's: bucket_1h is cut by its hours.
-- group: report
-- reads: bucket_1h
-- example: since = 2026-09-13 15:00:00, until = 2026-09-22 15:00:00, service = fixed, timezone = Asia/Tokyo
SELECT
    toDayOfWeek(time, 0, {timezone:String}) AS weekday,
    toHour(time, {timezone:String}) AS hour,
    sumIf(b.octets_est, b.direction = 1) * 8 / 3600 / uniqExact(time) AS bits_per_second_in,
    sumIf(b.octets_est, b.direction = 2) * 8 / 3600 / uniqExact(time) AS bits_per_second_out
FROM bucket_1h AS b
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND service = {service:String}
GROUP BY weekday, hour
ORDER BY weekday, hour
