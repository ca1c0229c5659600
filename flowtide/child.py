"""The two children of the all-in-one: ``python -m flowtide.child collector|store``.

Settings come as one line of JSON on standard input, facts go as lines of JSON to standard output, logs to standard
error.  ``store`` is enricher, sink, engine and HTTP port in one process, because one process owns the engine.
"""

import json
import sys
import threading
import time
from pathlib import Path

import structlog

from flowtide.children import EXIT_SETTINGS, say_ready, stop_event
from flowtide.settings import Settings, SettingsError
from sinks.ownership import AlreadyOwned
from sinks.spool import Spool, SpoolError
from sinks.telemetry import configure_logging

log = structlog.get_logger("flowtide")


def open_bus(settings: Settings) -> Spool:
    """The bus of the settings; SpoolError, SettingsError."""
    return Spool(settings.folder(settings.bus.url, "spool"), settings.bus)


def collector(settings: Settings, stop: threading.Event) -> None:
    """Sockets -> bus."""
    from collector.receiver import from_fds
    from collector.service import Collector
    from sinks.telemetry import TelemetryServer

    from flowtide.sockets import HELD_FDS

    bus = open_bus(settings)
    sockets = from_fds(HELD_FDS())
    service = Collector(bus, sockets, settings.collector, settings.data / "state" / "collector.json")
    telemetry = TelemetryServer(*settings.collector.telemetry_address(), health=service.health)
    say_ready({"metrics": list(telemetry.address)})
    service.run(stop)
    telemetry.close()
