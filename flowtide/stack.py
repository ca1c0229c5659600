"""All in one: a parent that holds the UDP sockets and supervises two children.

The parent does nothing that can fail for long, so what the kernel has buffered survives the death of the collector,
and receiving goes on while the engine is down.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

from collector.sockets import BoundSocket, open_sockets
from flowtide.children import Child, ChildFailed
from flowtide.settings import Settings, reveal
from sinks.ownership import Ownership
from sinks.segments import write_atomic

log = structlog.get_logger("flowtide")

_TEND_SECONDS = 0.2
_READY_SECONDS = 60.0
_COLLECTOR_STOP_SECONDS = 15.0  # flushes at most one group
_STORE_STOP_SECONDS = 120.0  # finishes what the bus holds; the rest would wait on disk


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the running stack answers."""

    listen: tuple[str, ...]  # UDP, for routers
    http: str  # ClickHouse's HTTP interface
    collector_metrics: str


class Stack:
    """Starts, watches and stops the children; one a data directory."""

    def __init__(self, settings: Settings) -> None:
        """AlreadyOwned when another process runs on the directory; BindError when an address cannot be had."""
        self._settings = settings
        self._owner = Ownership(settings.data, "flowtide")
        self._sockets: list[BoundSocket] = open_sockets(
            settings.collector.receiver.listen, settings.collector.receiver.buffer_bytes
        )
        self.collector = Child("collector", [bound.fileno() for bound in self._sockets])
        self.store = Child("store")

    @property
    def ports(self) -> list[int]:
        """The UDP ports taken."""
        return [bound.address[1] for bound in self._sockets]

    def start(self) -> Addresses:
        """Start both children and wait until they work; ChildFailed when one cannot."""
        for child in (self.collector, self.store):
            child.start(self._message(child))
        deadline = time.monotonic() + _READY_SECONDS
        for child in (self.collector, self.store):
            while not child.ready.wait(_TEND_SECONDS):
                self.tend()
                if time.monotonic() > deadline:
                    raise ChildFailed(f"the {child.name} process was not ready after {_READY_SECONDS:.0f} s")
        self._remember_ports()
        addresses = Addresses(
            tuple(bound.name for bound in self._sockets),
            f"http://{_address(self.store.facts['http'])}",
            f"http://{_address(self.collector.facts['metrics'])}/metrics",
        )
        facts = {"http": addresses.http, "listen": addresses.listen, "collector_metrics": addresses.collector_metrics}
        write_atomic(runtime_file(self._settings), json.dumps(facts).encode())
        return addresses

    def tend(self) -> None:
        """Start again what died; call it often."""
        for child in (self.collector, self.store):
            child.tend(self._message(child))

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop``."""
        while not stop.wait(_TEND_SECONDS):
            self.tend()

    def close(self) -> None:
        """Stop receiving, let the rest finish what was received, and let the directory go."""
        self.collector.stop(_COLLECTOR_STOP_SECONDS)
        self.store.stop(_STORE_STOP_SECONDS)
        for bound in self._sockets:
            bound.close()
        runtime_file(self._settings).unlink(missing_ok=True)
        self._owner.close()

    def _message(self, child: Child) -> str:
        return json.dumps({"settings": json.loads(reveal(self._settings)), "fds": list(child.fds)})

    def _remember_ports(self) -> None:
        """A child that starts again takes the same ports."""
        http = self._settings.http.model_copy(update={"listen": _address(self.store.facts["http"])})
        collector = self._settings.collector.model_copy(update={"telemetry": _address(self.collector.facts["metrics"])})
        self._settings = self._settings.model_copy(update={"http": http, "collector": collector})


def runtime_file(settings: Settings) -> Path:
    """Where a running stack says on which ports it answers."""
    return settings.data / "state" / "running.json"


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


def _address(fact: object) -> str:
    assert isinstance(fact, Sequence)
    host, port = fact
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
