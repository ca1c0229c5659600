-- Subscribers beside their flows: volumes from billing, who was there at all, names, and what the leases say of flows.

-- Octets of a user and local day as gateways or wholesale partners count them, or RADIUS.  A set is one import of a day
-- from a source; the newest set of (day, source) that accounting_import names is in force, and v_accounting reads it.
CREATE TABLE IF NOT EXISTS accounting_1d
(
    day Date,
    source LowCardinality(String),
    -- Of the set.
    made DateTime64(6, 'UTC'),
    sub_id UInt64,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    volume_source LowCardinality(String),
    in_octets Int64 CODEC(T64, ZSTD(1)),
    out_octets Int64 CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, source, made, sub_id, access)
{rollup_settings};

-- One row a set, written after its rows: so a set is in force as a whole or not at all.
CREATE TABLE IF NOT EXISTS accounting_import
(
    day Date,
    source LowCardinality(String),
    made DateTime64(6, 'UTC'),
    rows UInt64,
    in_octets Int64,
    out_octets Int64,
    -- SHA-256 of the day's rows.
    checksum String
)
ENGINE = MergeTree
ORDER BY (day, source, made)
{rollup_settings};

-- Everybody who held a lease on a local day, also without any flow: the denominator of users.
CREATE TABLE IF NOT EXISTS subscriber_seen_1d
(
    day Date,
    sub_id UInt64,
    service LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    made DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(made)
PARTITION BY toYYYYMM(day)
ORDER BY (day, sub_id, service, access)
{rollup_settings};

-- Who a pseudonym is.  A grant of its own, and hidden from readers of the engine in process (http.hidden_tables).
CREATE TABLE IF NOT EXISTS subscriber_name
(
    sub_id UInt64,
    service LowCardinality(String),
    subscriber String,
    access LowCardinality(String),
    -- When the name was first or last told; one row a user is kept.
    since DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(since)
ORDER BY sub_id
{rollup_settings};

-- What the leases said of an exporter's flows.  Rows with prefix '' are the whole.  The others break its unmatched part
-- down by the /24 or /48 of the end that should have had a lease; a flow without a direction is under both its ends, and
-- only the largest prefixes of a piece are kept: never to be summed with the whole.
CREATE TABLE IF NOT EXISTS lease_coverage_5m
(
    time DateTime('UTC') CODEC(Delta, ZSTD(1)),
    exporter LowCardinality(String),
    prefix String,
    -- Of the whole only, so that they may be summed over all rows.
    flows Int64 CODEC(T64, ZSTD(1)),
    octets_est Int64 CODEC(T64, ZSTD(1)),
    attributed_flows Int64 CODEC(T64, ZSTD(1)),
    attributed_octets_est Int64 CODEC(T64, ZSTD(1)),
    ambiguous_flows Int64 CODEC(T64, ZSTD(1)),
    ambiguous_octets_est Int64 CODEC(T64, ZSTD(1)),
    unmatched_flows Int64 CODEC(T64, ZSTD(1)),
    unmatched_octets_est Int64 CODEC(T64, ZSTD(1))
)
ENGINE = SummingMergeTree((flows, octets_est, attributed_flows, attributed_octets_est, ambiguous_flows, ambiguous_octets_est, unmatched_flows, unmatched_octets_est))
PARTITION BY toYYYYMMDD(time, '{timezone}')
ORDER BY (time, exporter, prefix)
{minute_ttl}
{rollup_settings};

CREATE OR REPLACE VIEW v_accounting AS
SELECT
    a.day AS day,
    a.source AS source,
    a.sub_id AS sub_id,
    a.service AS service,
    a.segment AS segment,
    a.access AS access,
    a.volume_source AS volume_source,
    a.in_octets AS in_octets,
    a.out_octets AS out_octets
FROM accounting_1d AS a
WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM accounting_import GROUP BY day, source);

CREATE OR REPLACE VIEW v_subscribers_seen AS
SELECT
    s.day AS day,
    s.sub_id AS sub_id,
    s.service AS service,
    argMax(s.segment, s.made) AS segment,
    s.access AS access
FROM subscriber_seen_1d AS s
GROUP BY day, sub_id, service, access;

-- Volumes of users by local day, each from one source and never from two: netflow or accounting, by service and access.
-- Mobile and IPoE are of accounting unless store.volume_sources says otherwise.
CREATE OR REPLACE VIEW v_user_day AS
WITH
    (
        SELECT mapFromArrays(groupArray(scope), groupArray(told))
        FROM
        (
            SELECT substring(name, length('volume_source:') + 1) AS scope, argMax(value, made) AS told
            FROM setting
            WHERE startsWith(name, 'volume_source:')
            GROUP BY name
        )
        WHERE told != ''
    ) AS chosen
SELECT
    u.day AS day,
    u.sub_id AS sub_id,
    u.service AS service,
    u.segment AS segment,
    u.access AS access,
    u.volume_source AS volume_source,
    sum(u.in_octets) AS in_octets,
    sum(u.out_octets) AS out_octets
FROM
(
    SELECT
        r.day AS day, r.sub_id AS sub_id, r.service AS service, r.segment AS segment, r.access AS access,
        'netflow' AS volume_source,
        if(r.direction = 1, r.octets_est, 0) AS in_octets,
        if(r.direction = 2, r.octets_est, 0) AS out_octets
    FROM subscriber_1d AS r
    UNION ALL
    SELECT
        a.day, a.sub_id, a.service, a.segment, a.access, 'accounting', a.in_octets, a.out_octets
    FROM accounting_1d AS a
    WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM accounting_import GROUP BY day, source)
) AS u
WHERE volume_source = if(mapContains(chosen, concat(u.service, '/', u.access)), chosen[concat(u.service, '/', u.access)],
    if(u.service = 'mobile' OR u.access = 'ipoe', 'accounting', 'netflow'))
GROUP BY day, sub_id, service, segment, access, volume_source;
