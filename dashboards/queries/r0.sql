-- How old is the newest data of each service?
-- Newest is what came last by either clock: an exporter whose clock is ahead would hide that nothing comes any more.
-- A service of few flows is silent by itself: it is late when it is so for three times its longest usual pause.
-- reads: bucket_1m, audit_1m
WITH
    toUnixTimestamp($__toTime) AS moment,
    (
        -- Minute of the newest arrival; 0 where the store has no such rows.
        SELECT max(toUnixTimestamp(a.time)) FROM audit_1m AS a
        WHERE a.time > $__toTime - INTERVAL 1 DAY AND a.time <= $__toTime AND a.stage = 'inserted'
    ) AS arrived,
    minutes AS
    (
        SELECT if(b.service = '', '(none)', toString(b.service)) AS service, toUnixTimestamp(b.time) AS minute
        FROM bucket_1m AS b
        WHERE b.time > $__toTime - INTERVAL 1 DAY AND b.time <= $__toTime
        GROUP BY service, minute
    ),
    pauses AS
    (
        SELECT service, minute, minute - lagInFrame(minute, 1, minute) OVER (
            PARTITION BY service ORDER BY minute ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS pause
        FROM minutes
    ),
    ages AS
    (
        SELECT
            service,
            -- The minute ends 60 s after it began.
            greatest(toInt64(moment) - least(max(minute), if(arrived = 0, max(minute), arrived)) - 60, 0) AS age,
            3 * quantileExact(0.99)(pause) AS usual
        FROM pauses
        GROUP BY service
    )
SELECT {columns}
FROM ages
ORDER BY service
