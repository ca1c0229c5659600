"""A parent that holds the UDP sockets and supervises children: all in one (``run``), or the collector's (``collect``).

The parent does nothing that can fail for long, so what the kernel has buffered survives the death of the collector,
and receiving goes on while the engine is down.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import structlog

from collector.sockets import BoundSocket, open_sockets
from flowtide.alerts import AlertsProcess, wanted
from flowtide.children import Child, ChildFailed, Fork, address_of
from flowtide.console import ConsoleProcess
from flowtide.parts import is_kafka
from flowtide.settings import Settings, reveal, with_setting
from sinks.ownership import AlreadyOwned, Ownership
from sinks.segments import write_atomic

log = structlog.get_logger("flowtide")

_TEND_SECONDS = 0.2
_READY_SECONDS = 60.0
_STOP_SECONDS = {
    "collector": 15.0,  # flushes at most one group
    "ship": 30.0,  # sends for 10 s, and what is left waits in the outbox
    "store": 120.0,  # finishes what the bus holds; the rest would wait on disk
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the running stack answers."""

    listen: tuple[str, ...]  # UDP, for routers
    collector_metrics: str
    http: str = ""  # ClickHouse's HTTP interface, ours or a server's; empty: none in this stack
    ship_metrics: str = ""  # with a Kafka bus
    console: str = ""  # the dashboards in a browser; empty: none in this stack, or it could not start
    alerts: str = ""  # who evaluates the alert rules; empty: as above


class Stack:
    """Starts, watches and stops the children; one a data directory."""

    def __init__(self, settings: Settings, *, collect_only: bool = False, fork: Fork | None = None) -> None:
        """AlreadyOwned when another process runs on the directory; BindError when an address cannot be had.

        ``collect_only``: without what is behind the bus.  ``fork``: what copies of this process do as children.
        """
        self._settings = settings
        with_shipper, with_alerts = is_kafka(settings), not collect_only and wanted(settings)
        self._owners = own(settings, ("collector",) if collect_only else ("flowtide", "collector", "enricher", "sink"))
        self._sockets: list[BoundSocket] = open_sockets(
            settings.collector.receiver.listen, settings.collector.receiver.buffer_bytes
        )
        self.collector = Child("collector", [bound.fileno() for bound in self._sockets], fork)
        self._children = [self.collector]
        if with_shipper:
            self._children.append(Child("ship", fork=fork))
        if not collect_only:
            self._children.append(Child("store", fork=fork))
        self._console = ConsoleProcess(fork) if settings.console.listen and not collect_only else None
        self._alerts = AlertsProcess(fork) if with_alerts else None
        self._runtime = (collect_file if collect_only else runtime_file)(settings)

    @property
    def ports(self) -> list[int]:
        """The UDP ports taken."""
        return [bound.address[1] for bound in self._sockets]

    def processes(self) -> dict[str, int]:
        """Process ids of the children that run, by name."""
        children = [*self._children, *(beside.child for beside in (self._alerts, self._console) if beside)]
        return {child.name: child.pid for child in children if child.pid is not None}

    def start(self) -> Addresses:
        """Start all children and wait until they work; ChildFailed when one cannot."""
        for child in self._children:
            child.start(self._message(child))
        for beside in (self._console, self._alerts):
            if beside:
                beside.prepare()
        deadline = time.monotonic() + _READY_SECONDS
        for child in self._children:
            while not child.listen(_TEND_SECONDS):
                self.tend()
                if time.monotonic() > deadline:
                    raise ChildFailed(f"the {child.name} process was not ready after {_READY_SECONDS:.0f} s")
        self._remember_ports()
        facts = self._facts()
        http = f"http://{address_of(facts['http'])}" if "http" in facts else str(facts.get("store", ""))
        alerts = self._alerts.start(self._settings, http, self.tend) if self._alerts else ""
        addresses = Addresses(
            tuple(bound.name for bound in self._sockets),
            f"http://{address_of(facts['metrics'])}/metrics",
            http,
            f"http://{address_of(facts['ship'])}/metrics" if "ship" in facts else "",
            self._console.start(self._settings, http, self.tend, alerts_url=alerts) if self._console else "",
            alerts,
        )
        write_atomic(self._runtime, json.dumps(asdict(addresses)).encode())
        return addresses

    def tend(self) -> None:
        """Start again what died; call it often."""
        for child in self._children:
            child.tend(self._message(child))
        for beside in (self._alerts, self._console):
            if beside:
                beside.tend()

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop``."""
        while not stop.wait(_TEND_SECONDS):
            self.tend()

    def close(self) -> None:
        """Stop receiving, let the rest finish what was received, and let the directory go."""
        for beside in (self._console, self._alerts):
            if beside:
                beside.close()
        for child in self._children:  # in the order of the path: each finishes what the one before left
            child.stop(_STOP_SECONDS[child.name])
        for bound in self._sockets:
            bound.close()
        self._runtime.unlink(missing_ok=True)
        for owner in self._owners:
            owner.close()

    def _message(self, child: Child) -> str:
        return json.dumps({"settings": json.loads(reveal(self._settings)), "fds": list(child.fds)})

    def _facts(self) -> dict[str, object]:
        """What the children said when they were ready; the store's metrics are on its HTTP port or its own address."""
        found: dict[str, object] = {}
        for child in reversed(self._children):
            found |= child.facts
        return found

    def _remember_ports(self) -> None:
        """A child that starts again takes the same ports."""
        for child in self._children:
            for fact, value in child.facts.items():
                if (place := _PLACES.get((child.name, fact))) is not None:
                    self._settings = with_setting(self._settings, *place, address_of(value))


_PLACES = {
    ("collector", "metrics"): ("collector", "telemetry"),
    ("ship", "ship"): ("bus", "telemetry"),
    ("store", "http"): ("http", "listen"),
    ("store", "metrics"): ("enricher", "telemetry"),
}


def own(settings: Settings, roles: Sequence[str]) -> list[Ownership]:
    """Hold these roles of the data directory; AlreadyOwned names the process that has one."""
    held: list[Ownership] = []
    try:
        for role in roles:
            held.append(Ownership(settings.data, role))
    except AlreadyOwned:
        for owner in held:
            owner.close()
        raise
    return held


def runtime_file(settings: Settings) -> Path:
    """Where a running stack says on which ports it answers."""
    return settings.data / "state" / "running.json"


def collect_file(settings: Settings) -> Path:
    """The same of a stack that only collects."""
    return settings.data / "state" / "collect.json"


def on_signals(stop: threading.Event) -> Callable[[], None]:
    """Let an interrupt or a termination set ``stop``, and a second one raise KeyboardInterrupt; returns what undoes it.

    The children finish by themselves when their parent is gone, and what is left waits on the bus.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def undo() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return undo
