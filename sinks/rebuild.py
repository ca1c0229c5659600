"""Makes days of a rollup again from raw, and exchanges them in one step.

The days are computed into a fresh table beside the live one, while ranges go on; then new ranges are held
(``rollup_ranges``), those recorded are waited for or finished, what they added is computed too, and the partition is
replaced.  Rows that come later add as ever: their offsets were in no range.  A month's partition keeps its other days.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sinks import Store
from sinks.back_fill import LATER
from sinks.rollup_ranges import ALL, run_chunk, run_range, starts
from sinks.rollup_tables import BY_NAME, NAMES, Rollup, parts_of

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_HOLD_SECONDS = 600  # a rebuild that was killed holds the rollups this long; none needs nearly as much
_MARGIN_SECONDS = 10  # of the hold, that must be left when a partition is exchanged
# For the sink to finish the ranges it recorded; then they are finished from here, which is sound also while it works.
# Not longer: a range that the sink recorded and then held for us is not finished by it at all.
_WAIT_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_LEFT_DAYS = 1  # fresh tables of rebuilds that were killed are dropped after that

Bounds = dict[int, tuple[int, int]]
"""By partition, rows [low, high) of ``bus_offset`` that are in the rollup."""


class RebuildRefused(Exception):  # noqa: N818
    """The rebuild would lose something, or cannot be done now; says what to do.  Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One exchanged partition: flows counted in the days that were made again, before and after."""

    table: str
    partition: int
    since: date
    until: date  # exclusive
    before: int
    after: int


def rebuild(
    store: Store,
    timezone: str,
    since: date,
    until: date | None = None,
    tables: Sequence[str] = NAMES,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
    wait_seconds: float = _WAIT_SECONDS,
) -> list[Rebuilt]:
    """Make the local days [since, until) (one day by default) of these rollups again from raw.

    RebuildRefused, before anything of that table is changed: raw does not reach back so far, or has fewer flows than
    the rollup (``force`` does it all the same), or a rollup is not known.  StoreUnavailable, StoreRefused: nothing of
    that table was changed either.
    """
    until = until or since + timedelta(days=1)
    if until <= since:
        raise RebuildRefused(f"no days in [{since}, {until}): the end must be after the start")
    for table in tables:
        if table not in BY_NAME:
            raise RebuildRefused(f"{table!r} is no rollup: there are {', '.join(NAMES)}")
    if not force:
        _refuse_expired(store, timezone, since)
    _drop_left(store)
    done = []
    for table in tables:
        for first, last in _pieces(BY_NAME[table], since, until):
            one = _Rebuild(store, timezone, BY_NAME[table], first, last, wait_seconds)
            done.append(one.run(force=force))
            say(f"{table} {first} to {last}: {done[-1].before} -> {done[-1].after} flows")
    return done


class _Rebuild:
    """One table, days of one partition."""

    def __init__(
        self, store: Store, timezone: str, rollup: Rollup, since: date, until: date, wait_seconds: float
    ) -> None:
        self._store, self._timezone, self._rollup, self._wait_seconds = store, timezone, rollup, wait_seconds
        self._since, self._until = since, until
        self._zone = ZoneInfo(timezone)
        self._start, self._end = midnight(since, self._zone), midnight(until, self._zone)
        self._id = uuid.uuid4().hex[:12]
        self._fresh = f"{rollup.name}_rebuild_{self._id}"
        digits = "%Y%m%d" if rollup.partition == "day" else "%Y%m"
        self._partition = int(since.strftime(digits))
        self._inserts = 0

    def run(self, *, force: bool) -> Rebuilt:
        """Compute, hold, finish, exchange, let go."""
        name = self._rollup.name
        self._store.command(f"CREATE TABLE {self._fresh} AS {name}")
        try:
            before = self._bounds()
            for where in self._slices(_of_bounds(before)):
                self._add(where)
            self._hold(_HOLD_SECONDS)
            try:
                return self._exchange(before, force=force)
            finally:
                self._hold(0)
        finally:
            self._store.command(f"DROP TABLE IF EXISTS {self._fresh} SYNC")

    def _exchange(self, before: Bounds, *, force: bool) -> Rebuilt:
        name, deadline = self._rollup.name, time.monotonic() + _HOLD_SECONDS - _MARGIN_SECONDS
        finish_recorded(self._store, self._timezone, self._wait_seconds)
        after = self._bounds()
        # A back-fill lengthens what is in the rollup at its old end meanwhile, the sink at its new one.
        older = {p: (low, before[p][0]) for p, (low, _) in after.items() if p in before}
        newer = {p: (before[p][1] if p in before else low, high) for p, (low, high) in after.items()}
        for added in (older, newer):
            if any(low < high for low, high in added.values()):
                self._add(f"{self._all_times()} AND ({_of_bounds(added)})")
        was, now = self._flows(name), self._flows(self._fresh)
        if now < was and not force:
            raise RebuildRefused(
                f"{name} has {was} flows from {self._since} to {self._until}, raw only {now}: part of raw is gone."
                " With --force the rollup keeps only what raw still has"
            )
        inside = self._inside()
        kept = f"{self._of_partition()} AND NOT ({inside})"
        self._insert(f"SELECT * FROM {name} WHERE {kept} ORDER BY {self._rollup.time}", "*")
        if time.monotonic() > deadline:
            raise RebuildRefused(
                f"{name}: the last step took longer than the rollups may wait ({_HOLD_SECONDS} s); rebuild fewer days"
            )
        # Refused from an empty table (code 36): nothing is what the partition has then.
        if self._count(self._fresh):
            self._store.command(f"ALTER TABLE {name} REPLACE PARTITION {self._partition} FROM {self._fresh}")
        else:
            self._store.command(f"ALTER TABLE {name} DROP PARTITION {self._partition}")
        return Rebuilt(name, self._partition, self._since, self._until, was, now)

    def _bounds(self) -> Bounds:
        """What this rollup has; RebuildRefused where nobody knows."""
        later = self._rollup.name in LATER
        low = starts(self._store, [self._rollup.name])
        ends = self._store.query(
            "SELECT partition, max(b) AS b FROM rollup_cut WHERE rollup = {all:String} GROUP BY partition", all=ALL
        ).to_pylist()
        known = {partition for _, partition in low}
        stored = self._store.query("SELECT DISTINCT bus_partition AS p FROM flows").to_pylist()
        if unknown := sorted({row["p"] for row in stored} - known):
            raise RebuildRefused(
                f"no sink of this version has begun partition {', '.join(map(str, unknown))} yet: start one, once"
            )
        return {
            int(row["partition"]): (low[self._rollup.name, row["partition"]] if later else 0, int(row["b"]))
            for row in ends
            if row["partition"] in known
        }

    def _slices(self, bounds: str) -> Iterator[str]:
        """The days by hours of flow end, so that memory is an hour's; buckets of minutes lie in one of them."""
        hours = self._store.query(
            f"SELECT DISTINCT intDiv(toUnixTimestamp64Milli(ts) - {self._start}, {_HOUR_MS}) AS hour FROM flows"
            f" WHERE {_between(self._start, self._end)} ORDER BY hour"
        ).to_pylist()
        for row in hours:
            begin = self._start + int(row["hour"]) * _HOUR_MS
            yield f"{_between(begin, min(begin + _HOUR_MS, self._end))} AND ({bounds})"
        if self._rollup.spread:
            yield f"{self._tail()} AND ({bounds})"

    def _tail(self) -> str:
        """Flows that ended later and carried something in these days: a flow is spread over a day at most."""
        return f"{_between(self._end, self._end + _DAY_MS)} AND ts_start < {_moment(self._end)}"

    def _all_times(self) -> str:
        times = _between(self._start, self._end)
        return f"({times} OR {self._tail()})" if self._rollup.spread else times

    def _add(self, where: str) -> None:
        columns, select = parts_of(self._rollup.name, where, self._timezone)
        names = ", ".join(columns)
        # What a flow carried in days that are not made again is in the table already.
        self._insert(
            f"SELECT * FROM ({select}) AS made({names}) WHERE {self._inside()} ORDER BY {self._rollup.time}", names
        )

    def _insert(self, select: str, columns: str) -> None:
        self._inserts += 1
        self._store.command(f"INSERT INTO {self._fresh} ({columns})\n{select}", token=f"{self._id}/{self._inserts}")

    def _inside(self) -> str:
        column = self._rollup.time
        if column == "day":
            return f"day >= toDate('{self._since}') AND day < toDate('{self._until}')"
        return f"{column} >= toDateTime({self._start // 1000}) AND {column} < toDateTime({self._end // 1000})"

    def _of_partition(self) -> str:
        zone = "" if self._rollup.time == "day" else f", '{self._timezone}'"
        function = "toYYYYMMDD" if self._rollup.partition == "day" else "toYYYYMM"
        return f"{function}({self._rollup.time}{zone}) = {self._partition}"

    def _flows(self, table: str) -> int:
        found = self._store.query(f"SELECT sum(flows) AS n FROM {table} WHERE {self._inside()}")
        return int(found.column("n")[0].as_py())

    def _count(self, table: str) -> int:
        return int(self._store.query(f"SELECT count() AS n FROM {table}").column("n")[0].as_py())

    def _hold(self, seconds: int) -> None:
        self._store.command(
            "INSERT INTO rollup_hold (id, reason, until, made) VALUES "
            f"('{self._id}', 'rebuild of {self._rollup.name} {self._partition}', now64(3) + {seconds}, now64(6))"
        )


def finish_recorded(store: Store, timezone: str, wait_seconds: float) -> None:
    """Wait until the recorded ranges are done, and finish those that are not: whoever began them may be dead.

    Under a hold only: else there are new ones at once.
    """
    deadline = time.monotonic() + wait_seconds
    while left := _recorded(store):
        if time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            continue
        for rollup, stream, partition, base, a, b in left:
            if rollup == ALL:
                run_range(store, timezone, stream, partition, base, a - base, b - base)
            else:
                run_chunk(store, timezone, rollup, partition, a, b)


def midnight(day: date, zone: ZoneInfo) -> int:
    """Unix milliseconds at which a local day begins; where its midnight is skipped, the moment of the change."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    low = int(noon.astimezone(UTC).timestamp()) - 16 * 3600  # before every beginning of the day: offsets are minutes
    high = low + 16 * 3600
    while high - low > 1:
        middle = (low + high) // 2
        before = datetime.fromtimestamp(middle, UTC).astimezone(zone).date() < day
        low, high = (middle, high) if before else (low, middle)
    return high * 1000


def _recorded(store: Store) -> list[tuple[str, str, int, int, int, int]]:
    """Ranges that are planned and not done: rollup, stream, partition, base, a, b."""
    # A range below the end of what is done was planned by a position that was lost, and was cut anew.
    rows = store.query(
        "SELECT DISTINCT rollup, stream, partition, base, a, b FROM rollup_plan AS plan"
        " WHERE (rollup, partition, a, b) NOT IN (SELECT rollup, partition, a, b FROM rollup_cut)"
        " AND (rollup != {all:String} OR (partition, a) IN"
        " (SELECT partition, max(b) FROM rollup_cut WHERE rollup = {all:String} GROUP BY partition)"
        " OR partition NOT IN (SELECT partition FROM rollup_cut WHERE rollup = {all:String}))"
        " ORDER BY rollup, partition, a",
        all=ALL,
    ).to_pylist()
    return [
        (row["rollup"], row["stream"], row["partition"], int(row["base"]), int(row["a"]), int(row["b"])) for row in rows
    ]


def _pieces(rollup: Rollup, since: date, until: date) -> Iterator[tuple[date, date]]:
    """The days by partition."""
    while since < until:
        if rollup.partition == "day":
            following = since + timedelta(days=1)
        else:
            following = min(until, (since.replace(day=1) + timedelta(days=32)).replace(day=1))
        yield since, following
        since = following


def _refuse_expired(store: Store, timezone: str, since: date) -> None:
    found = store.query("SELECT argMax(value, made) AS v FROM setting WHERE name = 'raw_days'").column("v")[0].as_py()
    days = int(found or 0)
    oldest = (datetime.now(UTC) - timedelta(days=days)).astimezone(ZoneInfo(timezone)).date()
    if days and since <= oldest:
        raise RebuildRefused(
            f"raw lives {days} days (store.raw_days), so of {since} it may be gone: the first day that can be made"
            f" again is {oldest + timedelta(days=1)}; with --force a rollup keeps only what raw still has"
        )


def _drop_left(store: Store) -> None:
    left = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%\\_rebuild\\_%'"
        f" AND metadata_modification_time < now() - INTERVAL {_LEFT_DAYS} DAY"
    ).to_pylist()
    for row in left:
        store.command(f"DROP TABLE IF EXISTS {row['name']} SYNC")


def _of_bounds(bounds: Bounds) -> str:
    parts = [
        f"(bus_partition = {partition} AND bus_offset >= {low} AND bus_offset < {high})"
        for partition, (low, high) in sorted(bounds.items())
    ]
    return " OR ".join(parts) or "0"


def _between(begin: int, end: int) -> str:
    return f"ts >= {_moment(begin)} AND ts < {_moment(end)}"


def _moment(ms: int) -> str:
    return f"fromUnixTimestamp64Milli(toInt64({ms}), 'UTC')"
