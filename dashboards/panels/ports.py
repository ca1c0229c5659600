"""Ports: which service takes which part of the traffic, and what changed since last week."""

from dashboards.panels.marks import ALERTS
from dashboards.panels.model import BY_BUCKET, Dashboard, Override, Row, Series, Table, Target, Variable
from dashboards.panels.noc import IP_VERSION, SERVICE
from dashboards.panels.sql import (
    BITS,
    PORT,
    PORT_KEY,
    ZONE,
    chosen,
    named,
    of_buckets,
    of_ports,
    series,
    within,
)

_SCOPE = " AND ".join(chosen(name, f"b.{name}") for name in ("service", "direction", "ip_version"))
_PORT_SCOPE = " AND ".join(chosen(name, f"p.{name}") for name in ("service", "direction", "ip_version"))
_SAID = "Subscribers' traffic; follows service, direction and IP version."
_DIRECTION = Variable("direction", "Direction", values=(("2", "out (download)"), ("1", "in (upload)")))
_TOP = Variable("top", "Ports", values=(("10", "10"), ("20", "20"), ("50", "50")), current="20")
_ONE = Variable(
    "port", "One port", current="tcp/443", query=f"""
SELECT {PORT} AS port FROM
(
    SELECT * FROM ({of_ports("p.direction > 0")}) ORDER BY octets DESC, {PORT_KEY} LIMIT 100
) AS p
ORDER BY octets DESC, port
""",
)  # fmt: skip


def _table(more: str) -> str:
    return f"""
SELECT
    {PORT} AS `lower port`,
    octets,
    share,
    `last week`,
    100 * (share - `last week`) AS `change in points`,
    octets_before
FROM
(
    SELECT
        {PORT_KEY}, octets, octets_before,
        octets / nullIf(sum(octets) OVER (), 0) AS share,
        octets_before / nullIf(sum(octets_before) OVER (), 0) AS `last week`
    FROM ({of_ports(f"p.direction > 0 AND {_PORT_SCOPE}{more}", with_last_week=True)})
    ORDER BY octets DESC, octets_before DESC, {PORT_KEY} LIMIT ${{top}}
) AS p
ORDER BY octets DESC, octets_before DESC, `lower port`
"""


_COLUMNS = (
    Override("byName", "octets", {"unit": "decbytes"}),
    Override("byName", "octets_before", {"unit": "decbytes", "displayName": "octets last week"}),
    Override("byName", "share", {"unit": "percentunit", "decimals": 2}),
    Override("byName", "last week", {"unit": "percentunit", "decimals": 2}),
    Override("byName", "change in points", {
        "unit": "none", "decimals": 2, "custom.cellOptions": {"type": "color-text"},
        "thresholds": {"mode": "absolute", "steps": [
            {"value": None, "color": "#e02f44"}, {"value": -2, "color": "text"}, {"value": 2, "color": "#ff8c1a"}]},
    }),
)  # fmt: skip
_BUCKETS = of_buckets("b.bucket AS bucket", f"b.direction > 0 AND {_SCOPE}") + " AS b"
_NORMALISED = (
    "SELECT time, bucket, value / nullIf(max(value) OVER (PARTITION BY bucket), 0) AS value FROM (\n"
    f"{series(named('b.bucket'), _BUCKETS, 'bucket', BITS)}\n) ORDER BY time, bucket"
)
# By numbers: to write a text for each row and compare it took two to three times as long.
_IS_ONE = (
    "p.proto IN (SELECT toUInt8(number) FROM numbers(256)"
    " WHERE protocol_of(toUInt8(number)) = splitByChar('/', ${port:singlequote})[1])"
    " AND p.lower_port = toUInt16OrZero(splitByChar('/', ${port:singlequote})[2])"
)
_ONE_PORT = series(
    "transform(b.direction, [1, 2], ['in (upload)', 'out (download)'], 'none')",
    f"(SELECT p.hour AS time, p.direction AS direction, p.octets_est AS octets_est FROM port_1h AS p"
    f" WHERE {within('p.hour')} AND {_IS_ONE} AND p.direction > 0 AND {_PORT_SCOPE}) AS b",
    "name", BITS,
)  # fmt: skip
_DYNAMIC = (
    "SELECT time, name, toNullable(value / nullIf(whole, 0)) AS value FROM (\n"
    + series(
        "transform(toString(b.bucket), ['tcp/>=1024', 'udp/>=1024'], ['TCP', 'UDP'], 'rest')", _BUCKETS, "name",
        "sum(b.octets_est)",
    ).replace("name, value FROM", "name, value, sum(value) OVER (PARTITION BY time) AS whole FROM", 1)
    + "\n) WHERE name <> 'rest' ORDER BY time, name"
)  # fmt: skip
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HEAT = f"""
SELECT leftPad(toString(hour), 2, '0') AS hour_of_day,
    {
    ", ".join(
        f"if(countIf(weekday = {n}) = 0, NULL, sumIf(part, weekday = {n})) AS {day}" for n, day in enumerate(_DAYS, 1)
    )
}
FROM
(
    SELECT toDayOfWeek(b.time, 0, {ZONE}) AS weekday, toHour(b.time, {ZONE}) AS hour,
        sum(b.octets_est) / uniqExact(b.time) AS mean, mean / nullIf(max(mean) OVER (), 0) AS part
    FROM bucket_1h AS b
    WHERE b.time >= $__fromTime AND b.time <= $__toTime - INTERVAL 1 HOUR AND b.direction > 0 AND {_SCOPE}
    GROUP BY weekday, hour
)
GROUP BY hour ORDER BY hour
"""
_HEAT_STEPS = ((None, "#b7cfe8"), (0.2, "#8fb8dd"), (0.4, "#649ccb"), (0.6, "#f3cf73"), (0.75, "#f2a044"),
               (0.9, "#e4633a"))  # fmt: skip
_HEAT_CELLS = tuple(
    Override("byName", day, {"custom.cellOptions": {"type": "color-background", "mode": "basic"},
                             "custom.displayMode": "color-background-solid"})
    for day in _DAYS
)  # fmt: skip

PORTS = Dashboard(
    "ports", "Ports", "Lower ports beside last week, one port over time, dynamic ports, and the hours of the week.",
    since="now-7d", refresh="1m", variables=(SERVICE, _DIRECTION, IP_VERSION, _TOP, _ONE),
    annotations=(ALERTS,),
    lines=(
        (
            Table(1, "Lower ports, and last week", "Share of octets by lower port in all hours that the time range"
                  " touches (days, from two days on), and in the same a week before; the change is in percentage"
                  f" points. Orange or red from 2 points: see One port for when it began. {_SAID}", 12, 18,
                  targets=(Target(_table(""), series=False),), interval="1h", overrides=_COLUMNS),
            Table(2, "Hours of the week", "Mean octets of each hour of the week, of the largest; hours and days of the"
                  f" store's time zone. Choose a week or more. {_SAID}", 12, 18,
                  targets=(Target(_HEAT, series=False),), interval="1h", unit="percentunit", decimals=0,
                  thresholds=_HEAT_STEPS, no_value="", overrides=(
                      Override("byName", "hour_of_day", {"displayName": "hour", "custom.width": 60, "unit": "string"}),
                      *_HEAT_CELLS)),
        ),
        (
            Series(3, "Buckets, each of its own peak", "Bits a second of each service bucket over its largest value in"
                   f" the time range: shapes of small and large ones side by side. {_SAID}", 12, 10,
                   targets=(Target(_NORMALISED),), interval="5m", unit="percentunit", decimals=0, low=0, high=1,
                   name="${__field.labels.bucket}", overrides=BY_BUCKET),
            Series(4, "One port: ${port}", f"Bits a second by lower port and hour. {_SAID}", 12, 10,
                   targets=(Target(_ONE_PORT),), interval="1h", unit="bps", low=0, name="${__field.labels.name}"),
        ),
        (Row(20, "Dynamic ports"),),
        (
            Series(5, "Share of dynamic ports", "Octets whose lower port is 1024 or more, over all octets: neither side"
                   f" has a well-known port. {_SAID}", 12, 10, targets=(Target(_DYNAMIC),), interval="5m",
                   unit="percentunit", decimals=1, low=0, name="${__field.labels.name}"),
            Table(6, "Dynamic ports, and last week", "The largest lower ports of 1024 and more; shares are of all"
                  f" dynamic ports. {_SAID}", 12, 10,
                  targets=(Target(_table(" AND p.lower_port >= 1024"), series=False),),
                  interval="1h", overrides=_COLUMNS),
        ),
    ),
)  # fmt: skip
