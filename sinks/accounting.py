"""Volumes of users by day as others count them: mobile by the gateways' billing, IPoE by the wholesale side.

A file has a line a user and day; it is checked as a whole and refused whole, with file, line and reason.  What is in
the store is a set a (day, source): its rows first and then one row of ``accounting_import``, which puts the set in
force, so that nobody sees half of one.  A corrected file replaces its days; the same file again changes nothing.

A user is counted from one source a day: octets of two sources, or of flows and accounting, are never added.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sinks import Store
from sinks.accounting_file import VOLUME_SOURCE, AccountingError, DayVolumes
from sinks.inserts import MAX_ROWS

_SOURCE = re.compile(r"[\w.:@-]{1,60}")

SubIds = Callable[[Iterable[tuple[str, str, str]]], NDArray[np.uint64]]
"""Pseudonyms of (service, subscriber, access), as the enricher makes them."""

_DAY_SCHEMA = pa.schema(
    [("day", pa.date32()), ("source", pa.string()), ("made", pa.timestamp("us", "UTC")), ("sub_id", pa.uint64()),
     ("service", pa.string()), ("segment", pa.string()), ("access", pa.string()), ("volume_source", pa.string()),
     ("in_octets", pa.int64()), ("out_octets", pa.int64())]
)  # fmt: skip
_IMPORT_SCHEMA = pa.schema(
    [("day", pa.date32()), ("source", pa.string()), ("made", pa.timestamp("us", "UTC")), ("rows", pa.uint64()),
     ("in_octets", pa.int64()), ("out_octets", pa.int64()), ("checksum", pa.string())]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one day."""

    day: date
    rows: int
    in_octets: int
    out_octets: int
    changed: bool  # False: this very set is in force already


def by_day(usage: Iterable[tuple[date, str, str, str, str, int, int]]) -> list[DayVolumes]:
    """Days of (day, subscriber, service, segment, access, in and out octets), as RADIUS counters give them.

    Octets of one user are of different sessions and are summed; of several segments the last one counts.
    """
    users: dict[date, dict[tuple[str, str, str], tuple[str, int, int]]] = {}
    for day, subscriber, service, segment, access, in_octets, out_octets in usage:
        of_day = users.setdefault(day, {})
        # A mobile line is one user, whatever it was said to be reached by.
        user = (service, subscriber, "mobile" if service == "mobile" else access)
        _, before_in, before_out = of_day.get(user, (segment, 0, 0))
        of_day[user] = (segment, before_in + in_octets, before_out + out_octets)
    found = []
    for day in sorted(users):
        volumes = DayVolumes(day)
        for user, (segment, in_octets, out_octets) in users[day].items():
            volumes.add(user, segment, in_octets, out_octets)
        found.append(volumes)
    return found


def put_day(store: Store, volumes: DayVolumes, source: str, ids: SubIds, now: float) -> Imported:
    """Put a day's set in force at Unix time ``now``; AccountingError, StoreUnavailable, StoreRefused: it is not."""
    if not _SOURCE.fullmatch(source):
        raise AccountingError(f"source {source!r}: write a short name of letters, digits, dots and dashes")
    if not volumes.users:
        raise AccountingError(f"{volumes.day}: no user")
    sub_ids = ids(volumes.users)
    order = np.argsort(sub_ids, kind="stable")
    if (twice := np.flatnonzero(np.diff(sub_ids[order]) == 0)).size:
        raise AccountingError(f"{volumes.day}: {volumes.users[int(order[twice[0]])][1]!r} is there twice")
    rows = pa.table({
        "sub_id": sub_ids,
        **{name: pa.array([user[at] for user in volumes.users], pa.string())
           for name, at in (("service", 0), ("access", 2))},
        "segment": pa.array(volumes.segments, pa.string()),
        "in_octets": pa.array(volumes.in_octets, pa.int64()),
        "out_octets": pa.array(volumes.out_octets, pa.int64()),
    }).take(pa.array(order))  # fmt: skip
    done = Imported(volumes.day, rows.num_rows, sum(volumes.in_octets), sum(volumes.out_octets), changed=True)
    checksum = _checksum(rows)
    newest = store.query(
        "SELECT checksum, toUnixTimestamp64Micro(made) AS made FROM accounting_import"
        " WHERE day = {day:Date} AND source = {source:String} ORDER BY made DESC LIMIT 1",
        day=volumes.day, source=source,
    ).to_pylist()  # fmt: skip
    if newest and newest[0]["checksum"] == checksum:
        return Imported(done.day, done.rows, done.in_octets, done.out_octets, changed=False)
    # A clock that was set back must not leave the old set in force.
    made = max(int(now * 1_000_000), newest[0]["made"] + 1 if newest else 0)
    _insert(store, rows, volumes.day, source, made)
    _refuse_other_sources(store, volumes.day, source, made)
    row = {"day": volumes.day, "source": source, "made": made, "rows": done.rows, "in_octets": done.in_octets,
           "out_octets": done.out_octets, "checksum": checksum}  # fmt: skip
    store.insert(
        "accounting_import", pa.Table.from_pylist([row], _IMPORT_SCHEMA), token=f"import/{source}/{volumes.day}/{made}"
    )
    _drop_sets(store, volumes.day, source, f"made < fromUnixTimestamp64Micro({made})")
    return done


def _insert(store: Store, rows: pa.Table, day: date, source: str, made: int) -> None:
    count = rows.num_rows
    whole = rows
    for name, value in (("day", day), ("source", source), ("made", made), ("volume_source", VOLUME_SOURCE)):
        whole = whole.append_column(name, pa.array([value], _DAY_SCHEMA.field(name).type).take(pa.array([0] * count)))
    whole = whole.select(_DAY_SCHEMA.names).cast(_DAY_SCHEMA)
    for first in range(0, count, MAX_ROWS):
        # A token of its own: a set that was taken away must not be taken for stored when it comes again.
        token = f"accounting/{source}/{day}/{made}/{first}/{uuid.uuid4().hex}"
        store.insert("accounting_1d", whole.slice(first, MAX_ROWS), token=token)


def _refuse_other_sources(store: Store, day: date, source: str, made: int) -> None:
    """A user of a set in force of another source is none of this one: their octets would be added."""
    found = store.query(
        "SELECT count() AS n, any(other.source) AS name FROM v_accounting AS other"
        " WHERE other.day = {day:Date} AND other.source != {source:String} AND other.sub_id IN ("
        "SELECT sub_id FROM accounting_1d WHERE day = {day:Date} AND source = {source:String}"
        f" AND made = fromUnixTimestamp64Micro({made}))",
        day=day, source=source,
    ).to_pylist()[0]  # fmt: skip
    if found["n"]:
        _drop_sets(store, day, source, f"made = fromUnixTimestamp64Micro({made})")
        raise AccountingError(
            f"{day}: {found['n']} users are in the accounting of source {found['name']!r} already, and would count"
            f" twice: import this file with --source {found['name']}, or take those users out"
        )


def _drop_sets(store: Store, day: date, source: str, which: str) -> None:
    """Take away rows of sets that are not in force."""
    # One literal kind: both are checked, a date and a name of plain characters.
    store.command(f"ALTER TABLE accounting_1d DELETE WHERE day = '{day}' AND source = '{source}' AND {which}")


def _checksum(rows: pa.Table) -> str:
    """Of a day's rows in the order of their ids: the same whatever the order of the file's lines."""
    digest = hashlib.sha256()
    for name in ("sub_id", "in_octets", "out_octets"):
        digest.update(rows[name].to_numpy().tobytes())
    for name in ("service", "segment", "access"):
        digest.update("\0".join(rows[name].to_pylist()).encode())
    return digest.hexdigest()
