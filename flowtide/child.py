"""The children of ``run`` and ``collect``: copies of their parent, or ``python -m flowtide.child NAME``.

Settings come as one line of JSON on standard input, facts go as lines of JSON to standard output, logs to standard
error.  ``store`` is enricher, sink, engine and HTTP port in one process, because one process owns the engine.
"""

import contextlib
import json
import signal
import sys
import threading
from importlib import import_module

import structlog

from collector.sockets import BindError
from enricher.subscribers import KeyFileError
from flowtide.children import EXIT_SETTINGS, say_ready, stop_event
from flowtide.forked import name_process
from flowtide.lean import loading, start_lean
from flowtide.roles import run_collector, run_ship
from flowtide.settings import Settings, SettingsError
from sinks import StoreUnavailable
from sinks.kafka_client import KafkaError
from sinks.migrations import MigrationError
from sinks.ownership import AlreadyOwned
from sinks.spool import SpoolError
from sinks.telemetry import configure_logging

log = structlog.get_logger("flowtide")

_MODULES = {
    "collector": ("collector.service",),
    "ship": ("collector.shipper",),
    "store": ("flowtide.behind", "enricher.watch", "sinks.service"),
    "console": ("flowtide.console", "dashboards.console.server"),
    "alerts": ("flowtide.alerts", "dashboards.alerts.history", "dashboards.alerts.notify", "dashboards.alerts.service"),
}
"""What each imports before it is told its settings; what is shared is imported by the parent of a copy."""


def run(name: str, settings: Settings, fds: list[int], stop: threading.Event) -> None:
    """Be this child until ``stop``."""
    if name == "collector":
        run_collector(settings, fds, stop, say_ready)
    elif name == "ship":
        run_ship(settings, stop, say_ready)
    elif name == "console":
        from flowtide.console import run_console

        run_console(settings, stop, say_ready)
    elif name == "alerts":
        from flowtide.alerts import run_alerts

        run_alerts(settings, stop, say_ready)
    else:
        from flowtide.behind import run_behind_the_bus  # a collector does without the client and the engine

        run_behind_the_bus(settings, stop, say_ready, enrich=True, sink=True)


def be(name: str) -> int:
    """Be this child, with the settings of the line to come; its exit status."""
    # An interrupt from the keyboard goes to the whole group and is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name_process(f"ft-{name}")
    start_lean()
    with loading():
        for module in _MODULES[name]:
            with contextlib.suppress(ModuleNotFoundError):  # told below, by those who need it
                import_module(module)
    line = sys.stdin.readline()
    if not line:
        return 0  # nobody wants it any more
    message = json.loads(line)
    settings = Settings(**message["settings"])
    configure_logging(settings.log.level, json_lines=settings.log.json_lines)
    stop = stop_event()
    try:
        run(name, settings, message["fds"], stop)
    except (SettingsError, SpoolError, KafkaError, BindError, KeyFileError, MigrationError) as error:
        log.error("cannot start", child=name, reason=str(error))
        return EXIT_SETTINGS
    except (AlreadyOwned, StoreUnavailable) as error:  # a predecessor may still be finishing: the parent tries again
        log.error("cannot start yet", child=name, reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(be(sys.argv[1]))
