-- Beside R1 and R2: the numbers of their messages, of the newest closed bucket.
WITH
{{_week}}
SELECT {columns}
FROM states
WHERE judged AND end >= first_end
ORDER BY ALL
