"""Pieces of the panels' SQL: buckets of time, conditions of the variables, sources by the width of a bucket.

Time buckets are counted from 1970 in UTC whatever the session's zone, so that a filled bucket and a found one are the
same.  A range begins with the bucket that ``from`` lies in and ends with the one that ``to`` lies in, or before the
first bucket that is not complete yet: a partial bucket would look like a fall of the traffic.
"""

GRACE_SECONDS = 60
"""A minute is complete when exporters have told of the flows still running in it: their active time-out."""
CLOSED_SECONDS = 120
"""A bucket by flow end is closed: the exporters' inactive time-out, and a minute for flush and insert."""

NAMELESS = "(none)"
OTHER = "Other"

Q1 = "sumIf(b.octets_est, b.bucket = 'udp/443') / nullIf(sum(b.octets_est), 0)"
"""QUIC by port, an upper bound of QUIC: of everything."""
Q2 = "sumIf(b.octets_est, b.bucket = 'udp/443') / nullIf(sumIf(b.octets_est, b.bucket IN ('tcp/443', 'udp/443')), 0)"
"""Of port 443."""
WITH_PORTS = "b.direction > 0 AND b.access <> 'ipoe'"
"""Subscribers' traffic of which the ports are known."""


def bucket(column: str) -> str:
    """The beginning of the bucket that a DateTime lies in."""
    return f"toDateTime(intDiv(toUnixTimestamp({column}), $__interval_s) * $__interval_s, 'UTC')"


def since(back: int = 0) -> str:
    """The beginning of the range, or so many seconds before it."""
    return f"toDateTime(intDiv(toUnixTimestamp($__fromTime), $__interval_s) * $__interval_s{_less(back)}, 'UTC')"


def until(grace: int = GRACE_SECONDS, back: int = 0) -> str:
    """The end of the range, outside of it; never before its beginning."""
    return (
        "toDateTime(greatest(intDiv(toUnixTimestamp($__fromTime), $__interval_s),"
        " least(intDiv(toUnixTimestamp($__toTime) + $__interval_s - 1, $__interval_s),"
        f" intDiv(toUnixTimestamp(now()) - {grace}, $__interval_s))) * $__interval_s{_less(back)}, 'UTC')"
    )


def _less(seconds: int) -> str:
    return f" - {seconds}" if seconds else ""


def within(column: str, grace: int = GRACE_SECONDS, back: int = 0) -> str:
    """Condition: a DateTime lies in the range, or in the same so many seconds before."""
    return f"{column} >= {since(back)} AND {column} < {until(grace, back)}"


def filled(grace: int = GRACE_SECONDS) -> str:
    """After ``ORDER BY …, time``: a row for every bucket of the range."""
    return f"WITH FILL FROM {since()} TO {until(grace)} STEP $__interval_s"


def chosen(variable: str, column: str) -> str:
    """Condition: the column has one of a variable's values; all rows when All is chosen."""
    values = f"${{{variable}:singlequote}}"
    return f"('*' IN ({values}) OR toString({column}) IN ({values}))"


def of_buckets(columns: str, where: str) -> str:
    """Octets, flows and ``columns`` by time, from the coarsest bucket table that divides the panel's bucket.

    Buckets of six hours and more may begin within a local hour: the hour then counts in the bucket it begins in.
    """
    tables = (
        ("bucket_1m", "$__interval_s < 300"),
        ("bucket_5m", "$__interval_s >= 300 AND $__interval_s < 21600"),
        ("bucket_1h", "$__interval_s >= 21600"),
    )
    parts = [
        f"SELECT b.time AS time, {columns}, b.octets_est AS octets_est, b.flows AS flows FROM {table} AS b"
        f" WHERE {condition} AND {within('b.time')} AND {where}"
        for table, condition in tables
    ]
    return "(\n    " + "\n    UNION ALL\n    ".join(parts) + "\n)"


def named(column: str) -> str:
    """A label, never empty: a filled range has an empty one where nothing was found."""
    return f"if({column} = '', '{NAMELESS}', toString({column}))"


def series(select: str, source: str, label: str, value: str, grace: int = GRACE_SECONDS, back: int = 0) -> str:
    """Values by time and label, every bucket filled; ``select`` as ``b.service`` becomes the column ``label``.

    ``back``: the source is of so many seconds before, and drawn at today's time.
    """
    time = f"b.time + {back}" if back else "b.time"
    return (
        f"SELECT time, {label}, value FROM (\n"
        f"  SELECT {bucket(time)} AS time, {select} AS {label}, {value} AS value\n"
        f"  FROM {source}\n"
        f"  GROUP BY time, {label} ORDER BY {label}, time {filled(grace)}\n"
        f") WHERE {label} <> '' ORDER BY time, {label} = '{OTHER}', {label}"
    )


def total(source: str, value: str, grace: int = GRACE_SECONDS) -> str:
    """One series; every bucket filled."""
    return (
        f"SELECT {bucket('b.time')} AS time, {value} AS value\nFROM {source}\n"
        f"GROUP BY time ORDER BY time {filled(grace)}"
    )


def top(key: str, source: str, label: str) -> str:
    """Bits a second of the largest ``${top}`` of a key by octets over the range, and of all others together.

    In one pass over the table: what is ranked is its sums by bucket and key.
    """
    return (
        f"SELECT time, {label}, value FROM (\n"
        f"  SELECT time, if(place > ${{top}}, '{OTHER}', found) AS {label}, sum(octets) * 8 / $__interval_s AS value\n"
        "  FROM (\n"
        "    SELECT time, found, octets, dense_rank() OVER (ORDER BY whole DESC, found) AS place FROM (\n"
        "      SELECT time, found, octets, sum(octets) OVER (PARTITION BY found) AS whole FROM (\n"
        f"        SELECT {bucket('b.time')} AS time, {key} AS found, sum(b.octets_est) AS octets\n"
        f"        FROM {source} GROUP BY time, found\n"
        "  ))) GROUP BY"
        f" time, {label} ORDER BY {label}, time {filled()}\n"
        f") WHERE {label} <> '' ORDER BY time, {label} = '{OTHER}', {label}"
    )


BITS = "sum(b.octets_est) * 8 / $__interval_s"
ROWS = "sum(b.flows + b.unknown_rate_flows + b.implausible_flows)"
"""Of ``exporter_1m``: every row as exported is one of the three."""

PORT = "concat(protocol_of(p.proto), if(p.proto IN (6, 17), concat('/', toString(p.lower_port)), ''))"
"""tcp/993, esp; a protocol without a name by its number.  By ``PORT_KEY`` first: a text for each costs most."""
PORT_KEY = "proto, lower_port"
_DAYS = 2
_LONG = f"toUnixTimestamp($__toTime) - toUnixTimestamp($__fromTime) >= {_DAYS * 86_400}"
ZONE = "(SELECT value FROM setting WHERE name = 'timezone' ORDER BY made DESC LIMIT 1)"
"""The store's time zone: what its days and hours are cut by."""


def of_ports(where: str, *, with_last_week: bool = False) -> str:
    """Octets by port of all hours that the range touches, or of all days where it lasts two or more: there are fewer.

    ``octets``, and with ``with_last_week`` also ``octets_before`` of the same hours or days a week earlier.
    """
    parts = []
    for table, time, first, last, condition in (
        ("port_1h", "hour", "$__fromTime - INTERVAL 1 HOUR", "$__toTime", f"NOT ({_LONG})"),
        ("port_1d", "day", f"toDate($__fromTime, {ZONE}) - 1", f"toDate($__toTime, {ZONE})", _LONG),
    ):
        now = f"p.{time} > {first} AND p.{time} <= {last}"
        sums, span = "sum(p.octets_est) AS octets", now
        if with_last_week:
            before = f"p.{time} > {first} - INTERVAL 7 DAY AND p.{time} <= {last} - INTERVAL 7 DAY"
            sums = f"sumIf(p.octets_est, {now}) AS octets, sumIf(p.octets_est, {before}) AS octets_before"
            span = f"({now} OR {before})"
        # Summed here and not behind the union, of which one part is empty: a quarter of the time less.
        parts.append(
            f"SELECT {PORT_KEY}, {sums} FROM {table} AS p WHERE {condition} AND {span} AND {where} GROUP BY {PORT_KEY}"
        )
    return "\n        UNION ALL\n        ".join(parts)
