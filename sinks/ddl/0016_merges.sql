-- What inserts and merges cost.  Statistics of every column (minima, maxima, a sketch of distinct values) are computed
-- for each part, and no query of ours is planned by them.  With a base of 5 the large part next to small ones is merged
-- with them again and again: of 3 M rows in inserts of 2,000 each was merged 38 times with at least 12 parts at once,
-- and 5.6 times with a base of 50, which merges parts of like size, more at once.
ALTER TABLE flows MODIFY SETTING auto_statistics_types = '', merge_selector_base = 50, min_parts_to_merge_at_once = 0;
ALTER TABLE bucket_1m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE bucket_5m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE bucket_1h MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE bucket_end_5m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE port_1h MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE port_1d MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE subscriber_1d MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE interface_1m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE exporter_1m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE talker_5m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE as_5m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE lease_coverage_5m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE exporter_health_1m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE stage_1m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE audit_1m MODIFY SETTING auto_statistics_types = '', merge_selector_base = 20;
ALTER TABLE flow_range MODIFY SETTING auto_statistics_types = '';
ALTER TABLE port_range MODIFY SETTING auto_statistics_types = '';
