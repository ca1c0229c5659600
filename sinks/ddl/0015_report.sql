-- Weeks of the traffic report, frozen: what a report needs of a week, without any subscriber, kept for ever.
--
-- A set is one freezing of (monday, service, origin).  Its header in report_week is written last, so that a set is in
-- force as a whole or not at all; the views read the set with the newest header.

CREATE TABLE IF NOT EXISTS report_week
(
    -- First local day.
    monday Date,
    service LowCardinality(String),
    -- own, or who published it.
    origin LowCardinality(String),
    -- Of the set.
    made DateTime64(6, 'UTC'),
    -- The next Monday, exclusive.
    until Date,
    label String,
    -- Of its statistics: growth is not told across two of them.
    method LowCardinality(String),
    zone LowCardinality(String),
    school_week UInt8,
    -- 167 or 169 where the clock is changed; 0 of a published week.
    hours UInt16,
    missing_hours Array(DateTime('UTC')),
    octets Int64,
    unmatched_octets Int64,
    sampling Float64,
    packets Int64,
    -- The rest of how far it can be trusted, as JSON.
    facts String,
    checksum String
)
ENGINE = MergeTree
ORDER BY (monday, service, origin, made)
{rollup_settings};

CREATE TABLE IF NOT EXISTS report_week_hour
(
    monday Date,
    service LowCardinality(String),
    origin LowCardinality(String),
    made DateTime64(6, 'UTC'),
    -- Of the local week, from 0.
    hour UInt16,
    -- volume (of a segment and direction) or bucket (of both): two breakdowns, never to be summed together.
    kind LowCardinality(String),
    segment LowCardinality(String),
    access LowCardinality(String),
    ip_version UInt8,
    -- 1 IN, 2 OUT; 0 both.
    direction UInt8,
    bucket LowCardinality(String),
    volume_source LowCardinality(String),
    profile LowCardinality(String),
    octets Int64 CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (monday, service, origin, made, kind, segment, access, ip_version, direction, bucket, volume_source, hour)
{rollup_settings};

CREATE TABLE IF NOT EXISTS report_week_user
(
    monday Date,
    service LowCardinality(String),
    origin LowCardinality(String),
    made DateTime64(6, 'UTC'),
    -- 1 IN, 2 OUT.
    direction UInt8,
    seen UInt64,
    users UInt64,
    zero UInt64,
    octets Int64,
    mean Float64,
    median Float64,
    mode Nullable(Float64),
    top10 Nullable(Float64),
    top1 Nullable(Float64),
    -- The histogram: tenths of a decade of octets a day, and users in each.
    bins Array(Int16),
    numbers Array(UInt64),
    -- Octets a day of some users, in the same order for both directions.
    sample Array(Int64),
    packets Int64,
    sampled_octets Int64
)
ENGINE = MergeTree
ORDER BY (monday, service, origin, made, direction)
{rollup_settings};

CREATE TABLE IF NOT EXISTS report_week_port
(
    monday Date,
    service LowCardinality(String),
    origin LowCardinality(String),
    made DateTime64(6, 'UTC'),
    access LowCardinality(String),
    -- 4, 6; 0 where only both together are known.
    ip_version UInt8,
    -- 0 everything, 255 the protocols without a row of their own.
    proto UInt8,
    -- -1 the whole protocol, -2 its lower ports below 1024, -3 from 1024 on.
    port Int32,
    octets Int64 CODEC(T64, ZSTD(1)),
    packets Int64 CODEC(T64, ZSTD(1)),
    share Float64
)
ENGINE = MergeTree
ORDER BY (monday, service, origin, made, access, ip_version, proto, port)
{rollup_settings};

CREATE OR REPLACE VIEW v_report_week AS
SELECT
    w.monday AS monday,
    w.service AS service,
    w.origin AS origin,
    w.made AS made,
    w.until AS until,
    if(w.label = '', toString(w.monday), w.label) AS label,
    w.method AS method,
    w.zone AS zone,
    w.school_week AS school_week,
    w.hours AS hours,
    w.missing_hours AS missing_hours,
    w.octets AS octets,
    w.unmatched_octets AS unmatched_octets,
    w.sampling AS sampling,
    w.packets AS packets,
    w.facts AS facts,
    w.checksum AS checksum
FROM report_week AS w
WHERE (w.monday, w.service, w.origin, w.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW v_report_week_hour AS
SELECT
    h.monday AS monday,
    h.service AS service,
    h.origin AS origin,
    h.hour AS hour,
    h.kind AS kind,
    h.segment AS segment,
    h.access AS access,
    h.ip_version AS ip_version,
    transform(h.direction, [0, 1, 2], ['both', 'in', 'out'], '?') AS direction,
    h.bucket AS bucket,
    h.volume_source AS volume_source,
    h.profile AS profile,
    h.octets AS octets
FROM report_week_hour AS h
WHERE (h.monday, h.service, h.origin, h.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW v_report_week_user AS
SELECT
    u.monday AS monday,
    u.service AS service,
    u.origin AS origin,
    transform(u.direction, [1, 2], ['in', 'out'], '?') AS direction,
    u.seen AS seen,
    u.users AS users,
    u.zero AS zero,
    u.octets AS octets,
    u.mean AS mean,
    u.median AS median,
    u.mode AS mode,
    u.top10 AS top10,
    u.top1 AS top1,
    u.bins AS bins,
    u.numbers AS numbers,
    u.sample AS sample,
    u.packets AS packets,
    u.sampled_octets AS sampled_octets
FROM report_week_user AS u
WHERE (u.monday, u.service, u.origin, u.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

CREATE OR REPLACE VIEW v_report_week_port AS
SELECT
    p.monday AS monday,
    p.service AS service,
    p.origin AS origin,
    p.access AS access,
    p.ip_version AS ip_version,
    p.proto AS proto,
    transform(p.proto, [0, 1, 4, 6, 17, 41, 47, 50, 58, 255],
        ['all', 'icmp', 'ipip', 'tcp', 'udp', 'ipv6', 'gre', 'esp', 'icmp6', 'other'], toString(p.proto)) AS protocol,
    -- As buckets are written: tcp/993, tcp/<1024, esp; tcp for the whole protocol.
    multiIf(p.port = -1, protocol, p.port = -2, concat(protocol, '/<1024'), p.port = -3, concat(protocol, '/>=1024'),
        concat(protocol, '/', toString(p.port))) AS port,
    p.octets AS octets,
    p.packets AS sampled_packets,
    p.share AS share
FROM report_week_port AS p
WHERE (p.monday, p.service, p.origin, p.made) IN (
    SELECT monday, service, origin, max(made) FROM report_week GROUP BY monday, service, origin);

-- Volumes of months, each from one source: flows, or accounting where v_user_day takes it.
-- The definer's rights: who reads it needs none on accounting_1d.
CREATE OR REPLACE VIEW v_volume_month DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
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
    d.month AS month,
    d.service AS service,
    d.segment AS segment,
    d.access AS access,
    transform(d.direction, [1, 2], ['in', 'out'], '?') AS direction,
    d.volume_source AS volume_source,
    sum(d.octets_) AS octets,
    -- Days of the month on which this service and access have any octets.
    any(d.days) AS days_told
FROM
(
    SELECT
        toStartOfMonth(u.day) AS month, u.service AS service, u.segment AS segment, u.access AS access,
        u.direction AS direction, u.volume_source AS volume_source, sum(u.octets) AS octets_,
        uniqExact(u.day) OVER (PARTITION BY month, service, access, volume_source) AS days
    FROM
    (
        SELECT
            toDate(r.time, '{timezone}') AS day, r.service AS service, r.segment AS segment, r.access AS access,
            r.direction AS direction, 'netflow' AS volume_source, r.octets_est AS octets
        FROM bucket_1h AS r
        WHERE r.service != '' AND r.direction IN (1, 2)
        UNION ALL
        SELECT
            a.day, a.service, a.segment, a.access, side.1 AS direction, 'accounting', side.2 AS octets
        FROM accounting_1d AS a
        ARRAY JOIN [(toUInt8(1), a.in_octets), (toUInt8(2), a.out_octets)] AS side
        WHERE (a.day, a.source, a.made) IN (SELECT day, source, max(made) FROM accounting_import GROUP BY day, source)
    ) AS u
    WHERE volume_source = if(mapContains(chosen, concat(u.service, '/', u.access)),
        chosen[concat(u.service, '/', u.access)],
        if(u.service = 'mobile' OR u.access = 'ipoe', 'accounting', 'netflow'))
    GROUP BY u.day, month, service, segment, access, direction, volume_source
) AS d
GROUP BY month, service, segment, access, direction, volume_source;
