"""A store of known flows, its HTTP port and the console in a process of their own: ``python -m tests.browser.served``.

An engine opens one directory in the life of a process, and pytest's process has one already.  Prints the console's
address; then obeys lines: ``down`` closes the store's port, ``up`` opens it again; the end of its input ends it.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from dashboards.asked import Target
from dashboards.console.server import ConsoleServer
from dashboards.settings import ConsoleSettings
from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.migrations import migrate
from sinks.settings import HttpSettings
from tests import known_flows
from tests.known_weeks import store_weeks
from tests.stored import FOR_EVER, TIMEZONE

# The known hour, moved by whole hours to the one that was over when the minute began, so that "now" has data too.
_HOURS = (datetime.now(UTC) - known_flows.UNTIL) // timedelta(hours=1)
MOVED = timedelta(hours=_HOURS)


def main(folder: Path) -> None:
    """Serve until the input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the output is for answers
    engine = EmbeddedStore(folder, memory_bytes=2 << 30)
    store = engine.in_database("flowtide")
    migrate(store, FOR_EVER, TIMEZONE)
    _fill(store)
    port = _port(store, 0)
    _, number = address = port.start()
    console = ConsoleServer(
        ConsoleSettings(listen="127.0.0.1:0", cache_seconds=0),
        Target("http://{}:{}".format(*address), timezone=TIMEZONE),
    )
    since = known_flows.ms(known_flows.SINCE + MOVED)
    print("http://{}:{}".format(*console.start()), since, since + 3_600_000, flush=True)
    for line in sys.stdin:
        if line.strip() == "down":
            port.close()
        else:
            port = _port(store, number)
            port.start()
        print("done", flush=True)
    console.close()
    port.close()
    engine.close()


def _port(store: EmbeddedStore, number: int) -> HttpPort:
    return HttpPort(store, HttpSettings(listen=f"127.0.0.1:{number}"), lambda: {"at": time.time()}, TIMEZONE)


def _fill(store: EmbeddedStore) -> None:
    rows = known_flows.known_rows()
    for row in rows:
        row["ts"] += known_flows.ms_of(MOVED)
    known_flows.store_flows(store, rows)
    observations = known_flows.known_observations()
    for table in observations.values():
        for row in table:
            row["time"] += MOVED
    known_flows.store_observations(store, observations)
    store_weeks(store)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
