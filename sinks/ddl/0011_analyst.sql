-- For analysts: days by group, without the groups in which a subscriber could be found.
-- The definer's rights: who reads it needs none on subscriber_1d.
CREATE OR REPLACE VIEW v_groups_1d DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    r.day AS day,
    r.service AS service,
    r.segment AS segment,
    r.access AS access,
    transform(r.direction, [0, 1, 2], ['none', 'in', 'out'], '?') AS direction,
    uniqExact(r.sub_id) AS subscribers,
    sum(r.flows) AS flows,
    sum(r.octets_est) AS octets_est,
    sum(r.packets_est) AS packets_est
FROM subscriber_1d AS r
GROUP BY day, service, segment, access, direction
-- Fewer could be guessed at by who knows some of them.
HAVING subscribers >= 20;
