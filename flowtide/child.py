"""The two children of the all-in-one: ``python -m flowtide.child collector|store``.

Settings come as one line of JSON on standard input, facts go as lines of JSON to standard output, logs to standard
error.  ``store`` is enricher, sink, engine and HTTP port in one process, because one process owns the engine.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping

import structlog

from collector.sockets import BindError, parse_address
from enricher.subscribers import KeyFileError
from flowtide.children import EXIT_SETTINGS, say_ready, stop_event
from flowtide.settings import Settings, SettingsError
from sinks import StoreUnavailable
from sinks.migrations import MigrationError
from sinks.ownership import AlreadyOwned
from sinks.spool import Spool, SpoolError
from sinks.telemetry import TelemetryServer, configure_logging

log = structlog.get_logger("flowtide")

_PORTS_TRIED = 100


def open_bus(settings: Settings) -> Spool:
    """The bus of the settings; SpoolError, SettingsError."""
    return Spool(settings.folder(settings.bus.url, "spool"), settings.bus)


def run_collector(settings: Settings, fds: list[int], stop: threading.Event) -> None:
    """Sockets -> bus, until ``stop``."""
    from collector.service import Collector
    from collector.sockets import BoundSocket

    sockets = [BoundSocket.from_fd(fd) for fd in fds]
    service = Collector(
        open_bus(settings), sockets, settings.collector, settings.data / "state" / "collector.json",
        settings.bus.compression,
    )  # fmt: skip
    telemetry = _telemetry(settings.collector.telemetry, service.health)
    say_ready({"metrics": list(telemetry.address)})
    service.run(stop)
    telemetry.close()


def run_store(settings: Settings, fds: list[int], stop: threading.Event) -> None:
    """Bus -> enricher -> bus -> engine, and the HTTP port, until ``stop``; then what the bus holds is finished."""
    from enricher.service import Enricher
    from enricher.watch import TablesInForce
    from sinks.dead_letters import DeadLetters
    from sinks.embedded import EmbeddedStore
    from sinks.http_port import HttpPort
    from sinks.keeper import Keeper
    from sinks.migrations import migrate, problems
    from sinks.rollups import Rollups
    from sinks.service import Sink

    bus = open_bus(settings)
    store = EmbeddedStore(settings.folder(settings.store.url, "chdb"), memory_bytes=settings.store.memory_bytes)
    migrate(store, settings.store, settings.timezone)
    if wrong := problems(store):
        raise MigrationError("the store's tables are not as they must be: " + "; ".join(wrong))
    tables = TablesInForce(settings.enricher, settings.data / "state" / "subscriber.key")
    tables.reload_if_changed(time.time())  # before the first flow: without leases it would stay unmatched
    letters = DeadLetters(settings.data / "dead-letter", settings.sink.dead_letter_bytes)
    enricher = Enricher(bus, tables.tables, settings.enricher, settings.bus.compression, dead_letters=letters)
    rollups = Rollups(store, settings.sink, settings.timezone)
    sink = Sink(bus, store, rollups, settings.sink, letters, settings.data / "state" / "gaps")
    keeper = Keeper(store, settings.store.max_bytes)

    def health() -> Mapping[str, object]:
        problems = {
            "enricher": enricher.failed, "sink": sink.failed, "leases": tables.failed,
            "stopped_partitions": sink.stopped or None,
        }  # fmt: skip
        return {"ok": not any(problems.values()), **{name: why for name, why in problems.items() if why}}

    http = HttpPort(store, settings.http, health, settings.timezone)
    enricher_stop, sink_stop = threading.Event(), threading.Event()
    enriching = threading.Thread(target=enricher.run, args=(enricher_stop,), name="enrich")
    sinking = threading.Thread(target=sink.run, args=(sink_stop,), name="sink")
    try:
        address = http.start()
    except OSError as error:
        raise BindError(f"http.listen {settings.http.listen!r}: {error}") from error
    say_ready({"http": list(address)})
    enriching.start()
    sinking.start()
    while not stop.wait(1.0):
        tables.reload_if_changed(time.time())
        keeper.tend(time.monotonic())
        for thread in (enriching, sinking):
            if not thread.is_alive():
                raise RuntimeError(f"thread {thread.name} ended; the parent starts this process again")
    # In the order of the path: each finishes what the one before left.
    enricher_stop.set()
    enriching.join()
    sink_stop.set()
    sinking.join()
    http.close()
    store.close()


def _telemetry(listen: str, health: Callable[[], Mapping[str, object]]) -> TelemetryServer:
    host, port = parse_address(listen)
    for candidate in range(port, min(port + _PORTS_TRIED, 65_536)):
        try:
            return TelemetryServer(host, candidate, health)
        except OSError:
            continue
    raise BindError(f"telemetry address {listen!r}: ports {port} to {port + _PORTS_TRIED - 1} are all busy")


def main() -> int:
    """Run the child named by the first argument; its exit status."""
    name = sys.argv[1]
    message = json.loads(sys.stdin.readline())
    settings = Settings(**message["settings"])
    configure_logging(settings.log.level, json_lines=settings.log.json_lines)
    stop = stop_event()
    try:
        {"collector": run_collector, "store": run_store}[name](settings, message["fds"], stop)
    except (SettingsError, SpoolError, BindError, KeyFileError, MigrationError) as error:
        log.error("cannot start", child=name, reason=str(error))
        return EXIT_SETTINGS
    except (AlreadyOwned, StoreUnavailable) as error:  # a predecessor may still be finishing: the parent tries again
        log.error("cannot start yet", child=name, reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
