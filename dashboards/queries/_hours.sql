-- Closed buckets that are judged, and those before them that are remembered; and of each the hours that are compared.
--
-- end        end of a closed bucket; hours end with it, those of days before at the same local time
-- day        0 now, 1 the day before, ... 35; from 36 on the hours of the last 7 days (R5), newest first
ends AS
(
    SELECT arrayJoin(range(toUInt32(first_end - 300 * (steps - 1)), toUInt32(last_end + 1), 300)) AS end
),
hours AS
(
    SELECT
        end,
        day,
        toUInt32(if(day < 36,
            end - day * 86400 + timeZoneOffset(toDateTime(end, zone)) - timeZoneOffset(toDateTime(end - day * 86400, zone)),
            end - (day - 36) * 3600)) AS at
    FROM ends
    ARRAY JOIN range(if(steps > 1 AND end >= first_end, 204, 36)) AS day
)
