"""Trust: whether what the other screens show is all there is, and which exporter, stage or setting it lacks."""

from dashboards.panels.marks import ALERTS
from dashboards.panels.model import GREEN, RED, YELLOW, Dashboard, Override, Row, Series, Stat, Table, Target
from dashboards.panels.noc import EXPORTER
from dashboards.panels.sql import ROWS, chosen, series, within

_CHOSEN = chosen("exporter", "b.exporter")
_RANGE = within("b.time")
# Rows on their way are not lacking: what came in the last two minutes is not judged.
_JUDGED = f"b.time >= $__fromTime AND b.time < least($__toTime, now() - 120) AND {_CHOSEN}"

_LACKING = f"""
SELECT sumIf(b.rows, b.stage = 'decoded') - sumIf(b.rows, b.stage = 'inserted') AS lacking
FROM audit_1m AS b WHERE {_JUDGED} HAVING count() > 0
"""
_STAGES = "FROM stage_1m AS b WHERE b.time >= $__fromTime AND b.time <= $__toTime"
_DROPPED = f"""
SELECT sumIf(b.value, startsWith(b.counter, 'dropped_') OR startsWith(b.counter, 'lost_')) AS dropped
{_STAGES} HAVING count() > 0
"""
_KERNEL = f"SELECT sumIf(b.value, b.counter = 'dropped_datagrams_kernel') AS dropped\n{_STAGES} HAVING count() > 0"
_OF_EXPORTERS = f"FROM exporter_1m AS b WHERE b.time >= $__fromTime AND b.time <= $__toTime AND {_CHOSEN}"
_UNMATCHED = f"""
SELECT sum(b.unmatched_octets_est) / sum(b.octets_est) AS share {_OF_EXPORTERS} HAVING sum(b.octets_est) > 0
"""
_RATELESS = f"""
SELECT sum(b.unknown_rate_flows) / {ROWS} AS share
{_OF_EXPORTERS} HAVING {ROWS} > 0
"""
_MISSED = f"""
SELECT sumIf(b.value, b.counter = 'sequence_missed') AS missed
FROM exporter_health_1m AS b WHERE b.time >= $__fromTime AND b.time <= $__toTime AND {_CHOSEN} HAVING count() > 0
"""

_SOURCES = ("unknown", "record", "sampler", "interface", "domain", "header", "setting", "override", "assumed")
_NAMES = "[" + ", ".join(f"'{name}'" for name in _SOURCES) + "]"
_EXPORTERS = f"""
SELECT
    if(f.exporter = '', h.exporter, f.exporter) AS exporter,
    f.rows_ / greatest(dateDiff('second', $__fromTime, least($__toTime, now())), 1) AS `flows/s`,
    if(f.rows_ = 0, NULL, greatest(dateDiff('second', f.newest, now()) - 60, 0)) AS `newest`,
    h.missed AS `missed`,
    h.duplicates AS `duplicates`,
    h.template AS `template`,
    f.smallest AS `sampling from`,
    f.largest AS `to`,
    f.sources AS `told by`,
    f.rateless / nullIf(f.rows_, 0) AS `without rate`,
    f.unmatched / nullIf(f.octets, 0) AS `unmatched`,
    h.skew / 1000 AS `clock off`,
    h.dropped AS `not decoded`,
    h.held AS `waited`
FROM
(
    SELECT
        b.exporter AS exporter, {ROWS} AS rows_,
        max(b.time) AS newest, min(b.min_sampling) AS smallest, max(b.max_sampling) AS largest,
        sum(b.unknown_rate_flows) AS rateless,
        arrayStringConcat(arrayMap(bit -> arrayElement({_NAMES}, bit + 1), bitPositionsToArray(
            groupBitOr(b.sampling_sources))), ', ') AS sources,
        sum(b.unmatched_octets_est) AS unmatched, sum(b.octets_est) AS octets
    {_OF_EXPORTERS} GROUP BY exporter
) AS f
FULL JOIN
(
    SELECT
        b.exporter AS exporter,
        sumIf(b.value, b.counter = 'sequence_missed') AS missed,
        sumIf(b.value, b.counter = 'sequence_duplicate') AS duplicates,
        dateDiff('second', maxIfOrNull(b.time, b.counter = 'templates_accepted'), now()) AS template,
        sumIf(b.value, b.counter = 'clock_skew_ms')
            / nullIf(sumIf(b.value, b.counter = 'datagrams_decoded'), 0) AS skew,
        sumIf(b.value, position(b.counter, '_dropped_') > 0) AS dropped,
        sumIf(b.value, b.counter = 'sets_held') AS held
    FROM exporter_health_1m AS b WHERE b.time >= $__fromTime AND b.time <= $__toTime AND {_CHOSEN} GROUP BY exporter
) AS h ON h.exporter = f.exporter
ORDER BY exporter
"""


def _limits(warn: float, alarm: float) -> dict[str, object]:
    steps = [{"value": None, "color": "text"}, {"value": warn, "color": YELLOW}, {"value": alarm, "color": RED}]
    return {"thresholds": {"mode": "absolute", "steps": steps}, "custom.cellOptions": {"type": "color-text"}}


_COLUMNS = (
    Override("byName", "flows/s", {"decimals": 0}),
    Override("byName", "newest", {"unit": "s", "decimals": 0, **_limits(180, 600)}),
    Override("byName", "missed", {"unit": "locale", **_limits(1, 1000)}),
    Override("byName", "duplicates", {"unit": "locale", **_limits(1, 1000)}),
    Override("byName", "template", {"unit": "s", "decimals": 0, **_limits(900, 3600)}),
    Override("byName", "sampling from", {"unit": "locale"}),
    Override("byName", "to", {"unit": "locale"}),
    Override("byName", "without rate", {"unit": "percentunit", "decimals": 1, **_limits(0.01, 0.05)}),
    Override("byName", "unmatched", {"unit": "percentunit", "decimals": 1, **_limits(0.05, 0.2)}),
    Override("byName", "clock off", {"unit": "s", "decimals": 1, **_limits(5, 60)}),
    Override("byName", "not decoded", {"unit": "locale", **_limits(1, 1000)}),
    Override("byName", "waited", {"unit": "locale"}),
)
_LAG = """
SELECT stage, greatest(dateDiff('second', newest, now()) - 60, 0) AS age FROM
(
    SELECT multiIf(stage = 'decoded', '1 decoded', stage = 'published', '2 published', stage = 'enriched', '3 enriched',
        stage = 'inserted', '4 inserted', toString(stage)) AS stage, max(time) AS newest
    FROM audit_1m WHERE time > now() - INTERVAL 1 DAY AND time <= now() GROUP BY stage
    UNION ALL
    SELECT '5 rolled up' AS stage, max(time) AS newest
    FROM bucket_1m WHERE time > now() - INTERVAL 1 DAY AND time <= now() HAVING count() > 0
)
ORDER BY stage
"""
_OWN_DROPS = series(
    "concat(b.stage, ': ', b.counter)",
    f"stage_1m AS b WHERE {_RANGE} AND (startsWith(b.counter, 'dropped_') OR startsWith(b.counter, 'lost_'))",
    "name", "sum(b.value)",
)  # fmt: skip
_REASONS = series(
    "b.counter", f"exporter_health_1m AS b WHERE {_RANGE} AND {_CHOSEN} AND position(b.counter, '_dropped_') > 0",
    "name", "sum(b.value)",
)  # fmt: skip


def _by_exporter(value: str, table: str = "exporter_1m", where: str = "1") -> str:
    return series("toString(b.exporter)", f"{table} AS b WHERE {_RANGE} AND {_CHOSEN} AND {where}", "name", value)


_LOST = f"""
SELECT exporter, decoded, published, enriched, inserted, decoded - inserted AS lacking FROM
(
    SELECT if(b.exporter = '', '(unreadable)', toString(b.exporter)) AS exporter,
        sumIf(b.rows, b.stage = 'decoded') AS decoded, sumIf(b.rows, b.stage = 'published') AS published,
        sumIf(b.rows, b.stage = 'enriched') AS enriched, sumIf(b.rows, b.stage = 'inserted') AS inserted
    FROM audit_1m AS b WHERE {_JUDGED} GROUP BY exporter
)
ORDER BY abs(lacking) DESC, exporter
"""

_OF_LEASES = f"FROM lease_coverage_5m AS b WHERE b.time >= $__fromTime AND b.time <= $__toTime AND {_CHOSEN}"
_COVERAGE = f"""
SELECT
    toString(b.exporter) AS exporter,
    sum(b.attributed_octets_est) AS attributed, sum(b.ambiguous_octets_est) AS ambiguous,
    sum(b.unmatched_octets_est) AS unmatched,
    sum(b.attributed_octets_est) / nullIf(sum(b.octets_est), 0) AS `share attributed`,
    sum(b.unmatched_octets_est) / nullIf(sum(b.octets_est), 0) AS `share unmatched`
{_OF_LEASES} AND b.prefix = ''
GROUP BY exporter
ORDER BY unmatched DESC, exporter
"""
_PREFIXES = f"""
SELECT
    b.prefix AS `prefix`,
    arrayStringConcat(arraySort(groupUniqArray(toString(b.exporter))), ', ') AS exporters,
    sum(b.unmatched_octets_est) AS octets,
    octets / nullIf((SELECT sum(b.unmatched_octets_est) {_OF_LEASES} AND b.prefix = ''), 0) AS `of all unmatched`
{_OF_LEASES} AND b.prefix != ''
GROUP BY `prefix`
ORDER BY octets DESC, `prefix`
LIMIT 20
"""

TRUST = Dashboard(
    "trust", "Trust", "What was lost, dropped, not decoded, without a rate or a subscriber; by exporter and stage.",
    since="now-6h", refresh="30s",
    variables=(EXPORTER,),
    annotations=(ALERTS,),
    lines=(
        (
            Stat(1, "Rows lacking in the store", "Decoded rows minus inserted ones, of the time range up to two minutes"
                 " ago. Not zero: flowtide doctor --audit says which stage lost or doubled them.", 4, 4,
                 targets=(Target(_LACKING, series=False),), unit="locale",
                 thresholds=((None, RED), (0, GREEN), (1, RED)), no_value="nothing decoded"),
            Stat(2, "Dropped or lost by us", "Datagrams and rows, by all stages. Red: the panel Dropped by stage names"
                 " the stage and the reason.", 4, 4, targets=(Target(_DROPPED, series=False),), unit="locale",
                 thresholds=((None, GREEN), (1, RED)), no_value="no stage told"),
            Stat(3, "Kernel drops", "Datagrams that found the socket's buffer full. Red: raise net.core.rmem_max"
                 " (deploy/sysctl.conf), or the host takes the processor away.", 4, 4,
                 targets=(Target(_KERNEL, series=False),), unit="locale", thresholds=((None, GREEN), (1, RED)),
                 no_value="no stage told"),
            Stat(4, "Messages missed", "By exporters' sequence numbers, less those that came late. Red: lost on the way"
                 " to us, or by our kernel.", 4, 4, targets=(Target(_MISSED, series=False),), unit="locale",
                 thresholds=((None, GREEN), (1, YELLOW), (1000, RED)), no_value="no exporter told"),
            Stat(5, "Rows without a rate", "Records that name a sampler nobody described: their octets are left out of"
                 " all sums. Red: options data is missing, or set collector.decoder.sampling.", 4, 4,
                 targets=(Target(_RATELESS, series=False),), unit="percentunit", decimals=2,
                 thresholds=((None, GREEN), (0.01, YELLOW), (0.05, RED))),
            Stat(6, "Octets without a subscriber", "Of sound rows. Red: leases are missing or late, or prefixes of ours"
                 " are not in them.", 4, 4, targets=(Target(_UNMATCHED, series=False),), unit="percentunit", decimals=1,
                 thresholds=((None, GREEN), (0.05, YELLOW), (0.2, RED))),
        ),
        (
            Table(7, "Exporters", "In the time range. Newest: seconds since the end of its newest minute. Missed:"
                  " by sequence numbers; v9 counts messages, IPFIX and v5 records. Template: when it last sent one; v5"
                  " and sFlow have none. Two sampling intervals: the device was changed, or has several. Told by: where"
                  " the interval comes from; assumed: it never said anything. Clock off: mean difference of its clock"
                  " to ours. Not decoded: datagrams, sets, templates and samples.", 24, 9,
                  targets=(Target(_EXPORTERS, series=False),), unit="none", overrides=_COLUMNS),
        ),
        (
            Table(8, "Lag of each stage", "Seconds since the end of the newest minute that a stage has finished"
                  " something of; rolled up: of the flows themselves. A stage much older than the one before it stands"
                  " still: see its section in deploy/README.md.", 8, 9, targets=(Target(_LAG, series=False),), unit="s",
                  decimals=0, overrides=(Override("byName", "age", _limits(180, 600)),)),
            Table(9, "Rows by stage", "Of the time range up to two minutes ago, by arrival. Lacking: decoded and not"
                  " inserted. flowtide doctor --audit says why.", 16, 9, targets=(Target(_LOST, series=False),),
                  unit="locale", overrides=(Override("byName", "lacking", {
                      "custom.cellOptions": {"type": "color-text"}, "thresholds": {"mode": "absolute", "steps": [
                          {"value": None, "color": RED}, {"value": 0, "color": GREEN}, {"value": 1, "color": RED}]},
                  }),)),
        ),
        (
            Table(16, "Octets by what the leases say", "In the time range, by flow end, without what counts at another"
                  " exporter. Ambiguous: two leases claim the address. Much unmatched: a lease source stands"
                  " still (flowtide leases status), or prefixes of ours have none: see beside.", 12, 9,
                  targets=(Target(_COVERAGE, series=False),), unit="decbytes", overrides=(
                      Override("byName", "share attributed", {"unit": "percentunit", "decimals": 1}),
                      Override("byName", "share unmatched", {"unit": "percentunit", "decimals": 1,
                                                             **_limits(0.02, 0.2)}))),
            Table(17, "Prefixes without a lease", "Largest /24 and /48: of the end that is ours where local_prefixes"
                  " tell the direction, else of both ends, so that remote ones are here, too. A pool of ours: its"
                  " leases are missing.", 12, 9, targets=(Target(_PREFIXES, series=False),), unit="decbytes",
                  overrides=(Override("byName", "of all unmatched", {"unit": "percentunit", "decimals": 1}),)),
        ),
        (Row(20, "Over time"),),
        (
            Series(10, "Flow records by exporter", "Records a second as exported. A line that ends: the exporter is"
                   " silent.", 12, 9, unit="suffix:flows/s", low=0, name="${__field.labels.name}", targets=(Target(
                       _by_exporter(f"{ROWS} / $__interval_s")),)),
            Series(11, "Dropped by stage", "Datagrams and rows in each interval, by stage and reason. Empty is good.",
                   12, 9, targets=(Target(_OWN_DROPS),), low=0, name="${__field.labels.name}",
                   no_value="nothing dropped"),
        ),
        (
            Series(12, "Messages missed by exporter", "By sequence numbers, in each interval.", 12, 9, low=0,
                   name="${__field.labels.name}", targets=(Target(_by_exporter(
                       "sumIf(b.value, b.counter = 'sequence_missed')", "exporter_health_1m")),)),
            Series(13, "Not decoded, by reason", "Datagrams, sets, templates and samples in each interval. Empty is"
                   " good; no template yet is not an error: such sets wait.", 12, 9, targets=(Target(_REASONS),), low=0,
                   name="${__field.labels.name}", no_value="nothing dropped"),
        ),
        (
            Series(14, "Octets without a subscriber, by exporter", "Share of the sound octets. A step: leases stopped"
                   " coming, or a prefix is new.", 12, 9, unit="percentunit", decimals=1, low=0,
                   name="${__field.labels.name}", targets=(Target(_by_exporter(
                       "toNullable(sum(b.unmatched_octets_est) / nullIf(sum(b.octets_est), 0))")),)),
            Series(15, "Sampling interval by exporter", "The largest in force in each interval. A step: the device was"
                   " changed, and sums before and after are of different error.", 12, 9, low=0, unit="locale",
                   name="${__field.labels.name}", targets=(Target(_by_exporter("toNullable(max(b.max_sampling))")),)),
        ),
    ),
)  # fmt: skip
