"""NOC live: what goes through, how much of it is QUIC, who makes it, and how old what one sees is."""

from dashboards.panels.marks import ALERTS
from dashboards.panels.model import (
    BY_BUCKET,
    GREEN,
    RED,
    YELLOW,
    Dashboard,
    Override,
    Row,
    Series,
    Stat,
    Table,
    Target,
    Unit,
    Variable,
)
from dashboards.panels.sql import (
    BITS,
    CLOSED_SECONDS,
    OTHER,
    PORT,
    PORT_KEY,
    Q1,
    Q2,
    ROWS,
    WITH_PORTS,
    bucket,
    chosen,
    named,
    of_buckets,
    of_ports,
    series,
    top,
    total,
    within,
)

_WEEK = 7 * 86_400  # seconds
_SCOPE = " AND ".join(chosen(name, f"b.{name}") for name in ("service", "exporter", "ip_version"))
_PORT_SCOPE = " AND ".join(chosen(name, f"p.{name}") for name in ("service", "ip_version", "direction"))
_SAID = "Follows the choices of service, exporter and IP version."
_DELAYED = "Ends a minute ago: flows still running are told by then."
_LAST_WEEK = Override(
    "byFrameRefID", "B",
    {"custom.lineStyle": {"fill": "dash", "dash": [6, 4]}, "custom.lineWidth": 1,
     "displayName": "${__field.labels.service}, last week"},
)  # fmt: skip

SERVICE = Variable(
    "service", "Service", several=True, query="""
SELECT DISTINCT if(service = '', '(none)', toString(service)) AS __text, toString(service) AS __value FROM bucket_1h
WHERE time >= $__fromTime - INTERVAL 1 DAY AND time <= $__toTime ORDER BY __text
""",
)  # fmt: skip
EXPORTER = Variable(
    "exporter", "Exporter", several=True, query="""
SELECT DISTINCT toString(exporter) AS exporter FROM bucket_1h
WHERE time >= $__fromTime - INTERVAL 1 DAY AND time <= $__toTime ORDER BY exporter
""",
)  # fmt: skip
IP_VERSION = Variable("ip_version", "IP version", values=(("4", "IPv4"), ("6", "IPv6")))
DIRECTION = Variable(
    "direction", "Direction of the tops", values=(("2", "out (download)"), ("1", "in (upload)")), current="2"
)
TOP = Variable("top", "Top", values=(("5", "5"), ("10", "10"), ("20", "20")), current="5")


def _by_bucket(direction: int) -> str:
    source = of_buckets("b.bucket AS bucket", f"b.direction = {direction} AND {_SCOPE}") + " AS b"
    return series(named("b.bucket"), source, "bucket", BITS)


def _all(direction: int) -> str:
    return total(of_buckets("b.bucket AS bucket", f"b.direction = {direction} AND {_SCOPE}") + " AS b", BITS)


def _closed(back: int = 0) -> str:
    return f"bucket_end_5m AS b WHERE {within('b.time', CLOSED_SECONDS, back)} AND {WITH_PORTS} AND {_SCOPE}"


def _share(what: str, back: int = 0) -> str:
    """A QUIC share over time by service, of closed buckets."""
    return series(named("b.service"), _closed(back), "service", f"toNullable({what})", CLOSED_SECONDS, back)


def _shares(id_: int, title: str, what: str, meaning: str) -> Series:
    return Series(
        id_, title,
        f"{meaning} QUIC by port: an upper bound of QUIC. Dashed: the same time last week. By flow end, closed buckets"
        " of five minutes; sums first, then the ratio; subscribers' traffic, IPoE left out. A step on all services: a"
        " large application switched; on one exporter: look at Trust first.",
        12, 9, targets=(Target(_share(what)), Target(_share(what, _WEEK), ref="B")),
        interval="5m", unit="percentunit", decimals=1, low=0, name="${__field.labels.service}", overrides=(_LAST_WEEK,),
    )  # fmt: skip


_AGE = """
SELECT greatest(dateDiff('second', max(time), now()) - 60, 0) AS age FROM bucket_1m
WHERE time >= now() - INTERVAL 1 DAY AND time <= now() HAVING count() > 0
"""
_QUIC = total(_closed(), f"toNullable({Q2})", CLOSED_SECONDS)
_EXPORTERS = f"exporter_1m AS b WHERE {within('b.time')} AND {chosen('exporter', 'b.exporter')}"
_ALL_ROWS = f"{ROWS} / $__interval_s"
_SILENT = """
SELECT countIf(newest < now() - INTERVAL 6 MINUTE) AS silent FROM
(
    SELECT exporter, max(time) AS newest FROM exporter_1m
    WHERE time >= now() - INTERVAL 1 DAY AND time <= now() GROUP BY exporter
)
HAVING count() > 0
"""
_INTERFACES = f"""(
    SELECT i.time AS time, i.octets_est AS octets_est, concat(i.exporter, ' ',
        if(n.name = '', concat('if ', toString(i.interface)), n.name), if(i.direction = 1, ' in', ' out')) AS interface
    FROM
    (
        SELECT {bucket("r.time")} AS time, r.exporter AS exporter, r.interface AS interface, r.direction AS direction,
            sum(r.octets_est) AS octets_est
        FROM interface_1m AS r WHERE {within("r.time")} AND {chosen("exporter", "r.exporter")}
        GROUP BY time, exporter, interface, direction
    ) AS i
    LEFT JOIN
    (
        SELECT exporter, toUInt32OrZero(toString(id)) AS interface, argMax(name, time) AS name FROM exporter_name
        WHERE kind = 'interface' GROUP BY exporter, interface
    ) AS n ON n.exporter = i.exporter AND n.interface = i.interface
) AS b"""
_AS = f"""(
    SELECT a.time AS time, a.octets_est AS octets_est, concat('AS', toString(a.src_as), if(n.name = '', '', ' '),
        n.name) AS source
    FROM
    (
        SELECT {bucket("r.time")} AS time, r.src_as AS src_as, sum(r.octets_est) AS octets_est
        FROM as_5m AS r WHERE {within("r.time")} GROUP BY time, src_as
    ) AS a
    LEFT JOIN v_network_as AS n ON n.asn = a.src_as
) AS b"""
_PORTS = f"""
SELECT
    if(p.place > ${{top}}, '{OTHER}', {PORT}) AS `lower port`,
    octets,
    octets / nullIf(sum(octets) OVER (), 0) AS share
FROM
(
    SELECT
        least(o.number, ${{top}} + 1) AS place,
        any(o.proto) AS proto, any(o.lower_port) AS lower_port, sum(o.octets) AS octets
    FROM
    (
        SELECT {PORT_KEY}, octets, row_number() OVER (ORDER BY octets DESC, {PORT_KEY}) AS number FROM
        ({of_ports(_PORT_SCOPE)})
    ) AS o
    GROUP BY place
) AS p
ORDER BY p.place
"""


def _tops(id_: int, title: str, meaning: str, sql: str, interval: str = "1m", unit: Unit = "bps") -> Series:
    return Series(
        id_, title, f"{meaning} {_DELAYED}", 12, 9, targets=(Target(sql),), unit=unit, interval=interval,
        stacked=True, name="${__field.labels.name}", low=0,
        overrides=(Override("byName", OTHER, {"color": {"mode": "fixed", "fixedColor": "#8e8e8e"}}),),
    )  # fmt: skip


def _of_direction(columns: str) -> str:
    return of_buckets(columns, f"{chosen('direction', 'b.direction')} AND {_SCOPE}") + " AS b"


NOC = Dashboard(
    "noc", "NOC live", "Bits a second by service bucket, the QUIC share, the largest, and how old the data is.",
    since="now-1h", refresh="5s", variables=(SERVICE, EXPORTER, IP_VERSION, DIRECTION, TOP),
    annotations=(ALERTS,),
    lines=(
        (
            Stat(
                1, "Age of the newest data",
                "Seconds since the end of the newest minute that has flows. Yellow from 3 minutes, red from 10:"
                " nothing below is true any more. Look at Trust, lag of each stage: the first stage that stands still"
                " is the one to mend. Does not follow the choices.",
                4, 4, targets=(Target(_AGE, series=False),), unit="s", decimals=0, no_value="nothing for a day",
                thresholds=((None, GREEN), (180, YELLOW), (600, RED)),
            ),
            Stat(2, "Download now", f"Bits a second out to subscribers. {_SAID} {_DELAYED}", 4, 4,
                 targets=(Target(_all(2)),), unit="bps", name="out", spark=True),
            Stat(3, "Upload now", f"Bits a second in from subscribers. {_SAID} {_DELAYED}", 4, 4,
                 targets=(Target(_all(1)),), unit="bps", name="in", spark=True),
            Stat(4, "QUIC share of port 443 (Q2) now",
                 "Octets of UDP 443 over those of TCP and UDP 443, in the last closed bucket. An upper bound of QUIC."
                 " IPoE left out.", 4, 4, targets=(Target(_QUIC),), interval="5m", unit="percentunit", decimals=1,
                 name="Q2", spark=True),
            Stat(5, "Flow records now", "Records a second as exported, of the chosen exporters. Falls to zero:"
                 " exporters are silent or cannot reach us.", 4, 4, targets=(Target(total(_EXPORTERS, _ALL_ROWS)),),
                 unit="suffix:flows/s", decimals=0, name="flows", spark=True),
            Stat(6, "Silent exporters", "Exporters of the last day without a flow for five minutes. Red: reach the"
                 " device, then its export configuration; shares lack its traffic meanwhile. Follows no choice.", 4,
                 4, targets=(Target(_SILENT, series=False),), unit="none", thresholds=((None, GREEN), (1, RED)),
                 no_value="none known"),
        ),
        (
            Series(7, "Download by bucket", "Bits a second out to subscribers by service bucket, long flows spread over"
                   f" the minutes they lasted. {_SAID} {_DELAYED}", 12, 10, targets=(Target(_by_bucket(2)),),
                   unit="bps", stacked=True, low=0, name="${__field.labels.bucket}", overrides=BY_BUCKET),
            Series(8, "Upload by bucket", "Bits a second in from subscribers by service bucket, long flows spread over"
                   f" the minutes they lasted. {_SAID} {_DELAYED}", 12, 10, targets=(Target(_by_bucket(1)),),
                   unit="bps", stacked=True, low=0, name="${__field.labels.bucket}", overrides=BY_BUCKET),
        ),
        (
            _shares(9, "QUIC share of all (Q1) by service", Q1, "Octets of UDP 443 over all octets."),
            _shares(10, "QUIC share of port 443 (Q2) by service", Q2,
                    "Octets of UDP 443 over those of TCP and UDP 443."),
        ),
        (Row(20, "The largest"),),
        (
            _tops(11, "Top subscriber groups", f"Bits a second by group, in the chosen direction. {_SAID}",
                  top(named("b.sub_group"), _of_direction("b.sub_group AS sub_group"), "name")),
            _tops(12, "Top exporters", f"Bits a second by exporter, in the chosen direction. {_SAID}",
                  top("toString(b.exporter)", _of_direction("b.exporter AS exporter"), "name")),
        ),
        (
            _tops(13, "Top interfaces", "Bits a second through interfaces of the chosen exporters, in and out of them:"
                  " what passes two exporters is here twice.", top("b.interface", _INTERFACES, "name")),
            _tops(14, "Top source AS", "Bits a second by the AS they came from. Follows no choice but Top.",
                  top("b.source", _AS, "name"), "5m"),
        ),
        (
            Table(15, "Top lower ports", "Octets by lower port in the chosen direction, in all hours (days, from two"
                  " days on) that the time range touches. Follows service, IP version and direction.", 12, 9,
                  targets=(Target(_PORTS, series=False),), interval="1h", unit="decbytes",
                  overrides=(Override("byName", "share", {"unit": "percentunit", "decimals": 1}),)),
            _tops(16, "Flow records by exporter", "Records a second as exported.", series(
                "toString(b.exporter)", _EXPORTERS, "name", _ALL_ROWS), unit="suffix:flows/s"),
        ),
    ),
)  # fmt: skip
