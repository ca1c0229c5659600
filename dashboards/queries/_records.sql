-- R6: records of each exporter by closed bucket, of the last day and the same fifteen minutes last week.
records AS
(
    SELECT
        toString(e.exporter) AS exporter, toUInt32(intDiv(toUnixTimestamp(e.time), 300) * 300 + 300) AS end,
        sum(e.flows + e.unknown_rate_flows + e.implausible_flows) AS records
    FROM exporter_1m AS e
    WHERE e.time >= toDateTime(last_end - 86400, 'UTC') AND e.time < toDateTime(last_end, 'UTC')
        OR e.time >= toDateTime(last_week - 900, 'UTC') AND e.time < toDateTime(last_week, 'UTC')
    GROUP BY exporter, end
)
