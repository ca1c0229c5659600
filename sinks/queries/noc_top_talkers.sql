-- Which addresses were sent most, and whose are they?
-- side 1: who sent most. kind prefix: by /24 and /48. Two figures closer than lacks_at_most may be in the other order.
-- group: NOC
-- reads: talker_5m
-- example: since = 2026-09-21 13:00:00, until = 2026-09-21 14:00:00, kind = address, side = 2
SELECT
    if(t.length = 0, 'other', address_of(t.prefix)) AS address,
    if(t.length = 0, '', network_of(t.prefix)) AS network,
    sum(t.octets_est) AS octets,
    sum(sum(t.cut)) OVER () AS lacks_at_most
FROM talker_5m AS t
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')} 
    AND t.kind = {kind:String} AND t.side = {side:UInt8}
GROUP BY address, network
ORDER BY octets DESC, address
LIMIT 10
