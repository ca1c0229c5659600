"""``flowtide doctor``: walks the path stage by stage, one line each: healthy, or what to do.

It looks from outside: at files of the data directory, at the ports of what runs, at the topics and at the store.
"""

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from flowtide.audit import audit, parse_times
from flowtide.errors import Failure
from flowtide.parts import is_embedded, is_kafka, open_bus, open_outbox, open_store
from flowtide.query import running_port
from flowtide.settings import Settings
from flowtide.stack import collect_file, runtime_file
from sinks import ENRICHED_STREAM, RAW_STREAM, Store, StoreRefused, StoreUnavailable
from sinks.dead_letters import DeadLetters
from sinks.gaps import accept_gap, seen_gaps
from sinks.migrations import MigrationError, plan, problems
from sinks.spool import Spool

EQUAL, DIFFERS, CANNOT_ASK = 0, 1, 2
_LEAST_FREE = 0.05  # of the disk: below it ClickHouse and spool are about to refuse
_LAG_MESSAGES = 100  # a hundred seconds of one-second messages
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")


@dataclass(frozen=True, slots=True)
class Finding:
    """One stage: healthy, or what is wrong and what to do."""

    stage: str
    healthy: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.healthy else 'LOOK'}  {self.stage:<12} {self.text}"


def run_doctor(settings: Settings) -> int:
    """Print one line a stage; DIFFERS when one is not healthy."""
    findings = list(look(settings))
    for finding in findings:
        typer.echo(str(finding))
    return EQUAL if all(finding.healthy for finding in findings) else DIFFERS


def run_audit(settings: Settings, since: str, until: str, *, as_json: bool) -> int:
    """Print the comparison; EQUAL, DIFFERS or CANNOT_ASK."""
    try:
        first, last = parse_times(since, until, datetime.now(UTC))
        with store_to_ask(settings) as store:
            found = audit(store, first, last)
    except (Failure, StoreUnavailable, StoreRefused) as error:
        typer.echo(f"flowtide: cannot ask: {error}", err=True)
        return CANNOT_ASK
    typer.echo(found.as_json() if as_json else found.as_text())
    return EQUAL if found.equal else DIFFERS


def run_accept_gap(settings: Settings, partition: int, confirm: Callable[[str], bool]) -> int:
    """Let the sink step over the gap at which it waits; Failure when it waits at none."""
    folder = settings.data / "state" / "gaps"
    found = [gap for gap in seen_gaps(folder) if gap.partition == partition]
    if not found:
        raise Failure(
            f"no sink of {settings.data.resolve()} waits at a gap in partition {partition}; say the data directory"
            " (setting data) of the sink that stopped"
        )
    for gap in found:
        typer.echo(
            f"partition {partition}: messages [{gap.start}, {gap.end}) of flows.raw, {gap.end - gap.start} of them, are"
            f" not in flows.enriched before its offset {gap.offset}, and nothing says why"
        )
        if not confirm("go on without them?"):
            return DIFFERS
        accept_gap(folder, gap.stream, partition, gap.start, gap.end)
        typer.echo("accepted: a sink that runs takes it up within seconds")
    return EQUAL


@contextmanager
def store_to_ask(settings: Settings) -> Iterator[Store]:
    """The store for questions: a server, the port of what runs here, or the directory; StoreUnavailable, Failure."""
    running = running_port(settings) if is_embedded(settings) else None
    if running is not None:
        from sinks.clickhouse import ClickHouseStore

        store: Store = ClickHouseStore(running, database=settings.store.database)
    elif is_embedded(settings) and not settings.folder(settings.store.url, "chdb").is_dir():
        raise Failure(f"{settings.data.resolve()} holds no store")
    else:
        store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def look(settings: Settings) -> Iterator[Finding]:
    """Every stage in the order of the path."""
    yield _disk(settings)
    yield _buffer(settings)
    yield from _processes(settings)
    yield _bus(settings)
    if is_kafka(settings):
        yield _outbox(settings)
    else:
        yield from _spool_lag(settings)
    yield _store(settings)
    gaps = seen_gaps(settings.data / "state" / "gaps")
    yield Finding("partitions", not gaps, "; ".join(map(str, gaps)) or "none waits at a gap")
    letters = DeadLetters(settings.data / "dead-letter")
    count = letters.count() if letters.folder.is_dir() else 0
    said = f"{count} messages in {letters.folder.resolve()}: read the reasons in *.json, then remove them"
    yield Finding("dead letters", not count, said if count else "none")


def _disk(settings: Settings) -> Finding:
    settings.data.mkdir(parents=True, exist_ok=True)
    total, _, free = shutil.disk_usage(settings.data)
    text = f"{free / 1e9:.1f} GB of {total / 1e9:.1f} GB free at {settings.data.resolve()}"
    if free / total < _LEAST_FREE:
        return Finding("disk", False, f"{text}: make room, or set store.max_bytes and bus.max_bytes lower")
    return Finding("disk", True, text)


def _buffer(settings: Settings) -> Finding:
    if not _RMEM_MAX.exists():
        return Finding("socket", True, "this system does not tell its largest receive buffer")
    # The kernel doubles what is set, for its own bookkeeping (socket(7)).
    allowed, wanted = 2 * int(_RMEM_MAX.read_text()), settings.collector.receiver.buffer_bytes
    if allowed < wanted:
        return Finding("socket", False, f"receive buffers are at most {allowed:,} bytes, {wanted:,} are asked (unless"
                       f" the collector has CAP_NET_ADMIN): sysctl -w net.core.rmem_max={-(-wanted // 2)}")  # fmt: skip
    return Finding("socket", True, f"receive buffers may have the {wanted:,} bytes asked")


def _processes(settings: Settings) -> Iterator[Finding]:
    places = {"running": runtime_file(settings), "collect": collect_file(settings)}
    places |= {name: settings.data / "state" / f"{name}.json" for name in ("enrich", "sink")}
    found = False
    for name, path in places.items():
        try:
            facts = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        found = True
        for key, url in facts.items():
            if isinstance(url, str) and url.startswith("http"):
                yield _process("processes", f"{name} {key}", url.removesuffix("/metrics"))
    if not found:
        yield Finding("processes", True, "nothing runs on this data directory")


def _process(stage: str, name: str, url: str) -> Finding:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:  # noqa: S310 - our own address
            answer.read()
    except urllib.error.HTTPError as error:
        return Finding(stage, False, f"{name} at {url}: {error.read().decode(errors='replace').strip()}")
    except OSError as error:
        return Finding(stage, False, f"{name} at {url} does not answer ({error}): see its log")
    lags = _lags(url)
    late = {name: lag for name, lag in lags.items() if lag > _LAG_MESSAGES}
    if late:
        said = ", ".join(f"{name} {lag:.0f}" for name, lag in late.items())
        return Finding(stage, False, f"{name} at {url} lags, messages: {said}; its log says what it waits for")
    return Finding(stage, True, f"{name} at {url} works, lag of {sum(lags.values()):.0f} messages")


def _lags(url: str) -> dict[str, float]:
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:  # noqa: S310 - our own address
            text = answer.read().decode()
    except OSError:
        return {}
    found = re.findall(r"^((?:sink|kafka)_lag_messages(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def _bus(settings: Settings) -> Finding:
    said: list[str] = []
    # Only look: a doctor makes no topics.
    only_look = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"create_topics": False})})
    try:
        if not is_kafka(settings) and not settings.folder(settings.bus.url, "spool").is_dir():
            return Finding("bus", True, f"{settings.bus.url}: not made yet")
        bus = open_bus(only_look)
        if not isinstance(bus, Spool):
            bus.prepare(said.append)  # type: ignore[attr-defined]
    except Exception as error:  # the client raises many kinds, and each is what to tell
        return Finding("bus", False, f"{settings.filled(settings.bus.url)}: {error}")
    text = f"{settings.filled(settings.bus.url)}: {settings.bus.partitions} partitions" + "".join(
        f"; {line}" for line in said
    )
    return Finding("bus", not said, text)


def _outbox(settings: Settings) -> Finding:
    folder = Path(settings.filled(settings.bus.outbox))
    if not folder.is_dir():
        return Finding("outbox", True, f"{folder}: not made yet")
    outbox = open_outbox(settings)
    octets = sum(outbox.octets(RAW_STREAM, partition) for partition in range(outbox.partitions))
    text = f"{octets / 1e6:.1f} MB of {settings.bus.max_bytes / 1e6:.0f} MB"
    full = octets > settings.bus.max_bytes // 4  # a stream has half of the bound
    return Finding("outbox", not full, f"{text}: Kafka does not take what comes; flows are dropped when it is full"
                   if full else text)  # fmt: skip


def _spool_lag(settings: Settings) -> Iterator[Finding]:
    folder = settings.folder(settings.bus.url, "spool")
    if not folder.is_dir():
        return
    try:
        bus = open_bus(settings)
        for group, stream in (("enricher", RAW_STREAM), ("sink", ENRICHED_STREAM)):
            lag = 0
            consumer = bus.consumer(stream, group)
            for partition in range(bus.partitions):
                committed = consumer.committed(partition)
                lag += consumer.bounds(partition)[1] - (committed.offset if committed else 0)
            consumer.close()
            late = lag > _LAG_MESSAGES
            said = f"{lag} messages of {stream} wait" + ("; does one run?" if late else "")
            yield Finding(f"{group} lag", not late, said)
    except Exception as error:
        yield Finding("lag", False, str(error))


def _store(settings: Settings) -> Finding:
    try:
        with store_to_ask(settings) as store:
            steps = plan(store, settings.store, settings.timezone)
            if steps:
                return Finding("store", False, f"{len(steps)} migrations are pending: flowtide migrate")
            wrong = problems(store)
            rows = store.query("SELECT count() AS n FROM flows").column("n")[0].as_py()
    except (Failure, StoreUnavailable, StoreRefused, MigrationError) as error:
        return Finding("store", False, f"{settings.store.url}: {error}")
    if wrong:
        return Finding("store", False, "; ".join(wrong))
    return Finding("store", True, f"{settings.store.url}: tables as they must be, {rows:,} raw rows")
