"""The processes before the bus, each until it is told to stop: collector and shipper; and what all processes share."""

import threading
from collections.abc import Callable, Mapping, Sequence

import structlog

from collector.sockets import BindError, parse_address
from flowtide.parts import compression, open_kafka, open_outbox
from flowtide.settings import Settings
from sinks import BusUnavailable, StoreUnavailable
from sinks.listening import next_free
from sinks.migrations import MigrationError
from sinks.store_errors import StoreDenied
from sinks.telemetry import TelemetryServer, limited

log = structlog.get_logger("flowtide")

Ready = Callable[[Mapping[str, object]], None]
"""Told once, when the process works, where it answers."""
Health = Callable[[], Mapping[str, object]]

_AGAIN_SECONDS = 2.0  # a broker or a store that does not answer at the start is asked again


def run_collector(settings: Settings, fds: Sequence[int], stop: threading.Event, ready: Ready) -> None:
    """Sockets -> spool or outbox."""
    from collector.service import Collector
    from collector.sockets import BoundSocket

    sockets = [BoundSocket.from_fd(fd) for fd in fds]
    service = Collector(
        open_outbox(settings), sockets, settings.collector, settings.data / "state" / "collector.json",
        compression(settings),
    )  # fmt: skip
    telemetry = serve_telemetry(settings.collector.telemetry, service.health)
    ready({"metrics": list(telemetry.address)})
    service.run(stop)
    telemetry.close()


def run_ship(settings: Settings, stop: threading.Event, ready: Ready) -> None:
    """Outbox -> Kafka."""
    from collector.shipper import Shipper

    bus = open_kafka(settings)
    shipper = Shipper(open_outbox(settings), bus, settings.kafka, settings.data / "dead-letter")
    telemetry = serve_telemetry(settings.bus.telemetry, shipper.health)
    # Before a broker answers: the collector works without one.
    ready({"ship": list(telemetry.address)})
    if until_it_answers(lambda: bus.prepare(say_plan), stop):
        shipper.run(stop)
    telemetry.close()


def serve_telemetry(listen: str, health: Health) -> TelemetryServer:
    """/metrics and /healthz on the wanted address or the next free port; BindError."""
    host, wanted = parse_address(listen)
    try:
        return next_free(wanted, lambda port: TelemetryServer(host, port, health))
    except OSError as error:
        raise BindError(f"telemetry address {listen!r}: {error.strerror or error}") from error


def until_it_answers(
    prepare: Callable[[], object], stop: threading.Event, note: Callable[[str | None], None] = lambda _: None
) -> bool:
    """Ask until it answers; False: told to stop before.  ``note`` hears why not, at every attempt, and None at last.

    MigrationError when a store does not let us in: waiting does not mend a password.
    """
    while not stop.is_set():
        try:
            prepare()
        except StoreDenied as error:
            raise MigrationError(str(error)) from error
        except (BusUnavailable, StoreUnavailable) as error:
            note(str(error))
            limited(log.warning, "waiting", "does not answer yet; asking again", reason=str(error))
            stop.wait(_AGAIN_SECONDS)
        else:
            note(None)
            return True
    return False


def say_plan(text: str) -> None:
    """What is made of topics, and what about them is odd."""
    log.info("bus", plan=text)
