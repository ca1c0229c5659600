-- How sure is a share that comes from sampled packets?
-- plus_minus: half of the 95 % interval, binomial over the sampled packets. Under 10,000 of them: no judgement.
-- group: engineers
-- reads: bucket_end_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00, bucket = udp/443
SELECT
    service,
    share_of(sumIf(b.octets_est, bucket = {bucket:String}), sum(b.octets_est)) AS share,
    sum(b.packets) AS sampled_packets,
    error_of(share, sampled_packets) AS plus_minus
FROM bucket_end_5m AS b
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} AND b.direction > 0 AND access <> 'ipoe'
GROUP BY service
ORDER BY service
