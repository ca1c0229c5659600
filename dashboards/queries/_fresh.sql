-- Services with new flows when a closed bucket was due: without, R0 is active and nothing else is judged.
fresh AS
(
    -- A minute is newest for four: then its end is 180 s ago.
    SELECT DISTINCT if(m.service = '', '(none)', toString(m.service)) AS service,
        toUInt32(intDiv(toUnixTimestamp(m.time) + 240 - grace, 300) * 300) AS end
    FROM bucket_1m AS m
    WHERE m.time >= toDateTime(first_end + grace - 240, 'UTC') AND m.time <= toDateTime(last_end + grace, 'UTC')
        AND end + grace >= toUnixTimestamp(m.time)
)
