"""The children of ``run`` and ``collect``: ``python -m flowtide.child collector|ship|store|console``.

Settings come as one line of JSON on standard input, facts go as lines of JSON to standard output, logs to standard
error.  ``store`` is enricher, sink, engine and HTTP port in one process, because one process owns the engine.
"""

import json
import sys
import threading

import structlog

from collector.sockets import BindError
from enricher.subscribers import KeyFileError
from flowtide.children import EXIT_SETTINGS, say_ready, stop_event
from flowtide.roles import run_collector, run_ship
from flowtide.settings import Settings, SettingsError
from sinks import StoreUnavailable
from sinks.kafka_client import KafkaError
from sinks.migrations import MigrationError
from sinks.ownership import AlreadyOwned
from sinks.spool import SpoolError
from sinks.telemetry import configure_logging

log = structlog.get_logger("flowtide")


def run(name: str, settings: Settings, fds: list[int], stop: threading.Event) -> None:
    """Be this child until ``stop``."""
    if name == "collector":
        run_collector(settings, fds, stop, say_ready)
    elif name == "ship":
        run_ship(settings, stop, say_ready)
    elif name == "console":
        from flowtide.console import run_console

        run_console(settings, stop, say_ready)
    else:
        from flowtide.behind import run_behind_the_bus  # a collector does without the client and the engine

        run_behind_the_bus(settings, stop, say_ready, enrich=True, sink=True)


def main() -> int:
    """Run the child named by the first argument; its exit status."""
    name = sys.argv[1]
    message = json.loads(sys.stdin.readline())
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
    sys.exit(main())
