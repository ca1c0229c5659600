-- Which weeks are frozen, how were they measured, and how far can they be trusted?
-- Only sets in force; a published week has no hours of its own.
-- group: report
-- reads: report_week
-- example: service = fixed
SELECT monday, origin, label, method, zone, school_week, hours, length(missing_hours) AS hours_missing,
    100 * share_of(unmatched_octets, octets) AS unmatched_pct, sampling, made
FROM v_report_week
WHERE service = {service:String}
ORDER BY monday, origin
