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


def since(back: str = "") -> str:
    """The beginning of the range; ``back`` as `` - 604800``: seconds."""
    return f"toDateTime(intDiv(toUnixTimestamp($__fromTime), $__interval_s) * $__interval_s{back}, 'UTC')"


def until(grace: int = GRACE_SECONDS, back: str = "") -> str:
    """The end of the range, outside of it; never before its beginning."""
    return (
        "toDateTime(greatest(intDiv(toUnixTimestamp($__fromTime), $__interval_s),"
        " least(intDiv(toUnixTimestamp($__toTime) + $__interval_s - 1, $__interval_s),"
        f" intDiv(toUnixTimestamp(now()) - {grace}, $__interval_s))) * $__interval_s{back}, 'UTC')"
    )


def within(column: str, grace: int = GRACE_SECONDS, back: str = "") -> str:
    """Condition: a DateTime lies in the range."""
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


def series(select: str, source: str, label: str, value: str, grace: int = GRACE_SECONDS) -> str:
    """Values by time and label, every bucket filled; ``select`` as ``b.service`` becomes the column ``label``."""
    return (
        f"SELECT time, {label}, value FROM (\n"
        f"  SELECT {bucket('b.time')} AS time, {select} AS {label}, {value} AS value\n"
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


def top(key: str, source: str, label: str, value: str) -> str:
    """The largest ``${top}`` of a key by octets over the range, and all others together."""
    largest = (
        f"(SELECT {key} AS found FROM {source} GROUP BY found ORDER BY sum(b.octets_est) DESC, found LIMIT ${{top}})"
    )
    return series(f"if({key} IN {largest}, {key}, '{OTHER}')", source, label, value)


BITS = "sum(b.octets_est) * 8 / $__interval_s"

PORT = "if(p.proto IN (6, 17), concat(if(p.proto = 6, 'tcp', 'udp'), '/', toString(p.lower_port)), toString(p.bucket))"
"""As buckets are written, for every port: tcp/993, esp.  Group by ``PORT_KEY`` first: a text a row costs most."""
PORT_KEY = "proto, lower_port, bucket"
HOURS = "p.hour > $__fromTime - INTERVAL 1 HOUR AND p.hour <= $__toTime"
"""All hours that the range touches."""
HOURS_LAST_WEEK = "p.hour > $__fromTime - INTERVAL 169 HOUR AND p.hour <= $__toTime - INTERVAL 168 HOUR"
ZONE = "(SELECT value FROM setting WHERE name = 'timezone' ORDER BY made DESC LIMIT 1)"
"""The store's time zone: what its days and hours are cut by."""
