-- The shared first step also carries what exporter_1m and lease_coverage_5m need, so that they do not read raw again.
ALTER TABLE flow_range ADD COLUMN IF NOT EXISTS said UInt8;
ALTER TABLE flow_range ADD COLUMN IF NOT EXISTS flagged UInt8;
ALTER TABLE flow_range ADD COLUMN IF NOT EXISTS min_sampling_ UInt32;
ALTER TABLE flow_range ADD COLUMN IF NOT EXISTS max_sampling_ UInt32;
ALTER TABLE flow_range ADD COLUMN IF NOT EXISTS sampling_sources_ UInt16;
