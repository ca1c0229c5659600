"""The processes behind the bus: any of enricher, sink, engine and HTTP port, until told to stop."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from collector.sockets import BindError
from dashboards.alerts.settings import STORED
from flowtide.accounting_command import agree_here
from flowtide.parts import (
    compression,
    is_embedded,
    member,
    open_bus,
    open_store,
    open_topic,
    prepare_bus,
    with_admin_token,
)
from flowtide.roles import Health, Ready, say_plan, serve_telemetry, until_it_answers
from flowtide.settings import Settings, SettingsError
from sinks import ENRICHED_STREAM, Bus, comments
from sinks.allocation import keep_freed
from sinks.dead_letters import DeadLetters
from sinks.migrations import MigrationError, keep_settings, migrate, problems
from sinks.rekey import refuse_half_changed
from sinks.spool import Spool

if TYPE_CHECKING:
    from enricher.radius.source import RadiusSource
    from enricher.sources.kafka import KafkaSource
    from enricher.watch import TablesInForce
    from sinks.clickhouse import ClickHouseStore
    from sinks.embedded import EmbeddedStore
    from sinks.range_sums import RangeSums

_LEASES_SECONDS = 120.0  # a million leases take about a quarter of it


def run_behind_the_bus(
    settings: Settings,
    stop: threading.Event,
    ready: Ready,
    *,
    enrich: bool = False,
    sink: bool = False,
    serve: bool = False,
) -> None:
    """Any of: bus -> enricher -> bus; bus -> store; the port over the engine.  What the bus holds is finished first.

    ``serve`` means the engine although this process stores nothing itself; a sink into the engine has the port anyhow.
    """
    keep_freed()
    with ExitStack() as closing:
        bus = open_bus(settings) if enrich or sink else None
        if enrich and sink and isinstance(bus, Spool):
            bus.hand_over(ENRICHED_STREAM)
        store = open_store(settings) if sink or serve else None
        if store is not None:
            closing.callback(store.close)
        server = cast("ClickHouseStore | None", None if is_embedded(settings) else store)
        work = _Work(settings, stop)
        facts: dict[str, object] = {}
        if store is not None and is_embedded(settings):
            _prepare_store(store, settings)
            facts["http"] = list(_serve_sql(settings, store, work.health, closing))
        else:
            telemetry = serve_telemetry((settings.enricher if enrich else settings.sink).telemetry, work.health)
            closing.callback(telemetry.close)
            facts["metrics"] = list(telemetry.address)
        if server is not None:
            facts["store"] = server.url
        letters = DeadLetters(settings.data / "dead-letter", settings.sink.dead_letter_bytes)
        if store is not None and is_embedded(settings) and bus is not None:
            agree_here(settings, store, must=enrich)
        if enrich and bus is not None:
            work.add_enricher(bus, letters)
            if store is not None and is_embedded(settings):
                agree_here(settings, store)  # a key that was just made
        ready(facts)  # before a broker or a server answers: the parent has more to do than this process
        closing.callback(work.finish)
        if bus is not None and not work.wait_for(lambda: prepare_bus(bus, say_plan)):
            return
        work.await_leases()
        work.start()
        if server is not None and not work.wait_for(lambda: _prepare_store(server, settings)):
            return
        if server is not None and bus and not work.wait_for(lambda: agree_here(settings, server)):
            return
        if sink and bus is not None and store is not None:
            work.add_sink(bus, store, letters)
        if store is not None:
            work.keep(store)
        if enrich:
            work.keep_days(store)
        work.start()
        if store is not None:
            work.wait_for(lambda: comments.tell(store))  # half a second in a new store, for which no flow waits
        work.watch()


class _Work:
    """The threads of one process behind the bus, in the order of the path."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings, self._stop = settings, stop
        self._threads: list[tuple[threading.Thread, threading.Event]] = []
        self._started = 0
        self._tend: list[Callable[[], object]] = []
        self._facts: list[Callable[[], Mapping[str, object]]] = []
        self._waiting: str | None = None
        self._closing: list[Callable[[], object]] = []
        self._leases: TablesInForce | None = None
        self._radius: Sequence[RadiusSource] = ()
        self._topics: Sequence[KafkaSource] = ()

    def health(self) -> Mapping[str, object]:
        """Facts for /healthz: what does not work, and why."""
        wrong: dict[str, object] = {"waiting": self._waiting} if self._waiting else {}
        for facts in self._facts:
            wrong |= {name: why for name, why in facts().items() if why}
        return {"ok": not wrong, **wrong}

    def wait_for(self, prepare: Callable[[], object]) -> bool:
        """Ask until it answers, while what has started works on; False: told to stop before."""

        def note(reason: str | None) -> None:
            self._waiting = reason
            self._look_after()

        return until_it_answers(prepare, self._stop, note)

    def add_enricher(self, bus: Bus, letters: DeadLetters) -> None:
        """An enricher, from the next start."""
        from enricher.recent_traffic import RecentTraffic
        from enricher.service import Enricher
        from enricher.watch import TablesInForce

        chosen, state, traffic = self._settings.enricher, self._settings.data / "state", RecentTraffic()
        radius, topics = self._listen_to_radius(state / "radius"), self._read_topics()
        tables = TablesInForce(chosen, state / "subscriber.key", sources=(*radius, *topics), traffic=traffic)
        tables.reload_if_changed(time.time())  # before the first flow: without leases it would stay unmatched
        enricher = Enricher(
            bus, tables.tables, chosen, compression(self._settings), dead_letters=letters, note=traffic.note
        )
        self._closing.append(tables.close)
        self._leases, self._radius, self._topics = tables, radius, topics
        self._facts += [partial(_publishing, listener) for listener in radius]
        self._tend.append(lambda: tables.reload_if_changed(time.time()))
        self._facts.append(lambda: {"enricher": enricher.failed, "leases": tables.failed})
        self._add("enrich", enricher.run)

    def _listen_to_radius(self, journal: Path) -> "Sequence[RadiusSource]":
        settings = self._settings
        if not settings.enricher.radius.listen:
            return ()
        from enricher.radius.settings import SecretError
        from enricher.radius.source import RadiusSource

        try:
            chosen = settings.enricher.radius
            topic = open_topic(settings, chosen.publish) if chosen.publish else None
            name = chosen.publish_name or member(settings)
            return (RadiusSource(chosen, journal, settings.timezone, publish=topic, name=name),)
        except SecretError as error:
            raise SettingsError(f"enricher.radius.clients: {error}") from None
        except OSError as error:
            where = settings.enricher.radius.listen
            raise BindError(f"enricher.radius.listen {where!r}: {error.strerror or error}; choose another") from error

    def _read_topics(self) -> "Sequence[KafkaSource]":
        settings, found = self._settings, []
        for each in settings.enricher.sources:
            if each.kind == "kafka":
                from enricher.sources.kafka import KafkaSource

                topic = open_topic(settings, each.path)
                source = KafkaSource(
                    each.label, topic, priority=each.priority, history_seconds=each.history_seconds,
                    most=each.max_leases, stale_seconds=each.stale_seconds,
                )  # fmt: skip
                source.start()
                found.append(source)
        return found

    def await_leases(self) -> None:
        """Before the first flow, as long as the topics of leases take to be read; not for ever."""
        deadline = time.monotonic() + _LEASES_SECONDS
        while not all(source.is_told for source in self._topics) and time.monotonic() < deadline:
            if self._stop.wait(0.1):
                return
            self._look_after()
        if self._leases is not None:
            self._leases.settle()

    def add_sink(self, bus: Bus, store: "EmbeddedStore | ClickHouseStore", letters: DeadLetters) -> None:
        """A sink, from the next start."""
        from sinks.back_fill import BackFill
        from sinks.rollups import Rollups
        from sinks.service import Sink

        settings = self._settings
        beside = ThreadPoolExecutor(2, thread_name_prefix="rollups")  # one range, and what messages add up to
        rollups = Rollups(store, settings.sink, settings.timezone, self._sums(store, beside))
        gaps = settings.data / "state" / "gaps"
        sink = Sink(bus, store, rollups, settings.sink, letters, gaps, beside=beside)
        self._closing.append(beside.shutdown)  # before the store is closed
        filling = BackFill(store, settings.timezone)
        self._tend.append(lambda: filling.tend(time.monotonic()))
        self._facts.append(lambda: {"sink": sink.failed, "stopped_partitions": sink.stopped})
        self._add("sink", sink.run)

    def _sums(self, store: "EmbeddedStore | ClickHouseStore", beside: Executor) -> "RangeSums | None":
        """A server rolls up by itself: that one token holds for rows from memory and from SQL is known of the engine in
        process only."""
        if not is_embedded(self._settings):
            return None
        from sinks.embedded import memory_default
        from sinks.range_sums import MOST_BYTES, RangeSums

        return RangeSums(store, self._settings.timezone, beside, min(MOST_BYTES, memory_default() // 4))

    def keep(self, store: "EmbeddedStore | ClickHouseStore") -> None:
        """Hold the store to its bound on disk, and its names of networks to their file."""
        if self._settings.store.networks:
            from sinks.names import NetworkFile

            names = NetworkFile(store, Path(self._settings.store.networks))
            self._tend.append(lambda: names.tend(time.time()))
            self._facts.append(lambda: {"networks": names.failed})
        if not is_embedded(self._settings):
            return  # a server's disk is its operator's
        from sinks.keeper import Keeper

        keeper = Keeper(store, self._settings.store.max_bytes)
        self._tend.append(lambda: keeper.tend(time.monotonic()))

    def keep_days(self, store: "EmbeddedStore | ClickHouseStore | None") -> None:
        """Write who was there on each day, into this process's store or the one of another; after ``add_enricher``."""
        from enricher.subscribers import sub_ids
        from flowtide.accounting_command import subscriber_key
        from flowtide.daily import DailySubscribers, store_elsewhere

        tables, key = self._leases, subscriber_key(self._settings)
        if tables is None or not tables.has_sources:
            return
        days = DailySubscribers(
            lambda: store_elsewhere(self._settings) if store is None else nullcontext(store),
            lambda: tables.tables().leases, self._radius, partial(sub_ids, key), self._settings.timezone,
        )  # fmt: skip
        self._tend.append(lambda: days.tend(time.time()))

    def start(self) -> None:
        """Start the threads added since the last time."""
        for thread, _ in self._threads[self._started :]:
            thread.start()
        self._started = len(self._threads)

    def watch(self) -> None:
        """Until told to stop; RuntimeError when a thread ended by itself."""
        while not self._stop.wait(1.0):
            self._look_after()

    def finish(self) -> None:
        """In the order of the path: each finishes what the one before left."""
        for thread, stop in self._threads[: self._started]:
            stop.set()
            thread.join()
        for close in self._closing:
            close()

    def _look_after(self) -> None:
        for tend in self._tend:
            tend()
        for thread, _ in self._threads[: self._started]:
            if not thread.is_alive():
                raise RuntimeError(f"thread {thread.name} ended; start this process again")

    def _add(self, name: str, run: Callable[[threading.Event], None]) -> None:
        stop = threading.Event()
        self._threads.append((threading.Thread(target=run, args=(stop,), name=name), stop))


def _publishing(listener: "RadiusSource") -> Mapping[str, object]:
    return {"publish": listener.publish_failed}


def _serve_sql(
    settings: Settings, store: "EmbeddedStore | ClickHouseStore", health: Health, closing: ExitStack
) -> tuple[str, int]:
    from sinks.embedded import EmbeddedStore
    from sinks.http_port import HttpPort

    assert isinstance(store, EmbeddedStore)
    http = HttpPort(store, with_admin_token(settings).http, health, settings.timezone)
    try:
        address = http.start()
    except OSError as error:
        raise BindError(f"http.listen {settings.http.listen!r}: {error}") from error
    closing.callback(http.close)
    return address


def _prepare_store(store: "EmbeddedStore | ClickHouseStore", settings: Settings) -> None:
    """Bring the tables to this version; MigrationError when they are not as they must be."""
    refuse_half_changed(store)
    migrate(store, settings.store, settings.timezone)
    keep_settings(store, STORED, settings.alerts.told())
    if wrong := problems(store):
        raise MigrationError("the store's tables are not as they must be: " + "; ".join(wrong))
