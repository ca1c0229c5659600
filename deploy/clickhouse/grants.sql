-- Rendered from sinks/grants.py: run it as an administrator of the server, again after an upgrade.
-- A person's user: CREATE USER ann IDENTIFIED BY '…'; GRANT noc TO ann;

-- noc: rollups, quality and names; nothing of single subscribers, no raw flows.
CREATE ROLE IF NOT EXISTS noc;
REVOKE ALL ON flowtide.* FROM noc;
GRANT SELECT ON flowtide.accounting_import TO noc;
GRANT SELECT ON flowtide.as_5m TO noc;
GRANT SELECT ON flowtide.audit_1m TO noc;
GRANT SELECT ON flowtide.bucket_1h TO noc;
GRANT SELECT ON flowtide.bucket_1m TO noc;
GRANT SELECT ON flowtide.bucket_5m TO noc;
GRANT SELECT ON flowtide.bucket_end_5m TO noc;
GRANT SELECT ON flowtide.bus_skipped TO noc;
GRANT SELECT ON flowtide.bus_stream TO noc;
GRANT SELECT ON flowtide.exporter_1m TO noc;
GRANT SELECT ON flowtide.exporter_health_1m TO noc;
GRANT SELECT ON flowtide.exporter_name TO noc;
GRANT SELECT ON flowtide.interface_1m TO noc;
GRANT SELECT ON flowtide.interface_counter TO noc;
GRANT SELECT ON flowtide.lease_coverage_5m TO noc;
GRANT SELECT ON flowtide.network_name TO noc;
GRANT SELECT ON flowtide.port_1d TO noc;
GRANT SELECT ON flowtide.port_1h TO noc;
GRANT SELECT ON flowtide.rollup_cut TO noc;
GRANT SELECT ON flowtide.setting TO noc;
GRANT SELECT ON flowtide.stage_1m TO noc;
GRANT SELECT ON flowtide.talker_5m TO noc;
GRANT SELECT ON flowtide.v_as TO noc;
GRANT SELECT ON flowtide.v_bucket_1m TO noc;
GRANT SELECT ON flowtide.v_buckets TO noc;
GRANT SELECT ON flowtide.v_buckets_1h TO noc;
GRANT SELECT ON flowtide.v_buckets_5m TO noc;
GRANT SELECT ON flowtide.v_buckets_end TO noc;
GRANT SELECT ON flowtide.v_exporter_name TO noc;
GRANT SELECT ON flowtide.v_exporters TO noc;
GRANT SELECT ON flowtide.v_groups_1d TO noc;
GRANT SELECT ON flowtide.v_interfaces TO noc;
GRANT SELECT ON flowtide.v_network_as TO noc;
GRANT SELECT ON flowtide.v_network_prefixes TO noc;
GRANT SELECT ON flowtide.v_ports TO noc;
GRANT SELECT ON flowtide.v_ports_1d TO noc;
GRANT SELECT ON flowtide.v_quality TO noc;
GRANT SELECT ON flowtide.v_talkers TO noc;
GRANT dictGet ON flowtide.network_by_prefix TO noc;
GRANT dictGet ON flowtide.network_by_asn TO noc;
CREATE SETTINGS PROFILE OR REPLACE noc_limits SETTINGS readonly = 1, max_execution_time = 60 MIN 1 MAX 100 CHANGEABLE_IN_READONLY, max_memory_usage = 2147483648 CONST, max_result_rows = 1000000 CONST TO noc;

-- engineer: all that is read, with subscribers as pseudonyms.
CREATE ROLE IF NOT EXISTS engineer;
REVOKE ALL ON flowtide.* FROM engineer;
GRANT SELECT ON flowtide.accounting_1d TO engineer;
GRANT SELECT ON flowtide.accounting_import TO engineer;
GRANT SELECT ON flowtide.as_5m TO engineer;
GRANT SELECT ON flowtide.audit_1m TO engineer;
GRANT SELECT ON flowtide.bucket_1h TO engineer;
GRANT SELECT ON flowtide.bucket_1m TO engineer;
GRANT SELECT ON flowtide.bucket_5m TO engineer;
GRANT SELECT ON flowtide.bucket_end_5m TO engineer;
GRANT SELECT ON flowtide.bus_skipped TO engineer;
GRANT SELECT ON flowtide.bus_stream TO engineer;
GRANT SELECT ON flowtide.exporter_1m TO engineer;
GRANT SELECT ON flowtide.exporter_health_1m TO engineer;
GRANT SELECT ON flowtide.exporter_name TO engineer;
GRANT SELECT ON flowtide.flows TO engineer;
GRANT SELECT ON flowtide.interface_1m TO engineer;
GRANT SELECT ON flowtide.interface_counter TO engineer;
GRANT SELECT ON flowtide.lease_coverage_5m TO engineer;
GRANT SELECT ON flowtide.network_name TO engineer;
GRANT SELECT ON flowtide.port_1d TO engineer;
GRANT SELECT ON flowtide.port_1h TO engineer;
GRANT SELECT ON flowtide.rollup_cut TO engineer;
GRANT SELECT ON flowtide.setting TO engineer;
GRANT SELECT ON flowtide.stage_1m TO engineer;
GRANT SELECT ON flowtide.subscriber_1d TO engineer;
GRANT SELECT ON flowtide.subscriber_seen_1d TO engineer;
GRANT SELECT ON flowtide.talker_5m TO engineer;
GRANT SELECT ON flowtide.v_accounting TO engineer;
GRANT SELECT ON flowtide.v_as TO engineer;
GRANT SELECT ON flowtide.v_bucket_1m TO engineer;
GRANT SELECT ON flowtide.v_buckets TO engineer;
GRANT SELECT ON flowtide.v_buckets_1h TO engineer;
GRANT SELECT ON flowtide.v_buckets_5m TO engineer;
GRANT SELECT ON flowtide.v_buckets_end TO engineer;
GRANT SELECT ON flowtide.v_exporter_name TO engineer;
GRANT SELECT ON flowtide.v_exporters TO engineer;
GRANT SELECT ON flowtide.v_flow TO engineer;
GRANT SELECT ON flowtide.v_flows TO engineer;
GRANT SELECT ON flowtide.v_groups_1d TO engineer;
GRANT SELECT ON flowtide.v_interfaces TO engineer;
GRANT SELECT ON flowtide.v_network_as TO engineer;
GRANT SELECT ON flowtide.v_network_prefixes TO engineer;
GRANT SELECT ON flowtide.v_ports TO engineer;
GRANT SELECT ON flowtide.v_ports_1d TO engineer;
GRANT SELECT ON flowtide.v_quality TO engineer;
GRANT SELECT ON flowtide.v_subscribers TO engineer;
GRANT SELECT ON flowtide.v_subscribers_seen TO engineer;
GRANT SELECT ON flowtide.v_talkers TO engineer;
GRANT SELECT ON flowtide.v_user_day TO engineer;
GRANT dictGet ON flowtide.network_by_prefix TO engineer;
GRANT dictGet ON flowtide.network_by_asn TO engineer;
CREATE SETTINGS PROFILE OR REPLACE engineer_limits SETTINGS readonly = 1, max_execution_time = 60 MIN 1 MAX 100 CHANGEABLE_IN_READONLY, max_memory_usage = 2147483648 CONST, max_result_rows = 1000000 CONST TO engineer;

-- analyst: days by group, groups of fewer than 20 subscribers left out.
CREATE ROLE IF NOT EXISTS analyst;
REVOKE ALL ON flowtide.* FROM analyst;
GRANT SELECT ON flowtide.v_groups_1d TO analyst;
CREATE SETTINGS PROFILE OR REPLACE analyst_limits SETTINGS readonly = 1, max_execution_time = 60 MIN 1 MAX 100 CHANGEABLE_IN_READONLY, max_memory_usage = 2147483648 CONST, max_result_rows = 1000000 CONST TO analyst;

-- names: who a pseudonym is, beside another role; grant it to few.
CREATE ROLE IF NOT EXISTS names;
REVOKE ALL ON flowtide.* FROM names;
GRANT SELECT ON flowtide.subscriber_name TO names;
CREATE SETTINGS PROFILE OR REPLACE names_limits SETTINGS readonly = 1, max_execution_time = 60 MIN 1 MAX 100 CHANGEABLE_IN_READONLY, max_memory_usage = 2147483648 CONST, max_result_rows = 1000000 CONST TO names;

-- admin: everything in the database.
CREATE ROLE IF NOT EXISTS admin;
REVOKE ALL ON flowtide.* FROM admin;
GRANT ALL ON flowtide.* TO admin;
