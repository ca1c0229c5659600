-- Beside R3: the numbers of its message, of the newest closed bucket.
WITH
{{_band}}
SELECT {columns}
FROM states
WHERE judged AND end >= first_end
ORDER BY ALL
