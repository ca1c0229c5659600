"""Child processes of the all-in-one: started, watched, started again, and stopped in order."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from flowtide.forked import Forked, can_fork

log = structlog.get_logger("flowtide")

EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h: starting again would fail in the same way
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 30.0  # a child that lived so long starts again at once

Fork = Callable[[str], int]
"""What a copy of this process does as the child of that name, and its exit status; where there is none, or no copy can
be made, a child is a new Python."""


class ChildFailed(Exception):  # noqa: N818
    """A child cannot start; its last words are on standard error."""


@dataclass(slots=True)
class Child:
    """One child process; its standard input carries the settings and, while open, says that the parent lives."""

    name: str
    fds: Sequence[int] = ()
    fork: Fork | None = None
    facts: dict[str, object] = field(default_factory=dict)  # what it said when it was ready
    starts: int = 0
    process: subprocess.Popen[bytes] | Forked | None = None
    ready: threading.Event = field(default_factory=threading.Event)  # set by whoever calls ``tend`` or ``listen``
    _untold: bool = False
    _heard: bytes = b""
    _began: float = 0.0
    _failures: int = 0
    _again_at: float = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def prepare(self) -> None:
        """Start it without settings: until it is told them it imports what it needs.  OSError."""
        self._let_go()
        self.ready = threading.Event()
        self.process = self._spawn()
        self.starts += 1
        self._untold, self._heard, self._began = True, b"", time.monotonic()

    def start(self, settings_json: str) -> None:
        """Start it, or tell the one that was prepared; returns at once.  OSError."""
        if not self._untold or self.pid is None:
            self.prepare()
        assert self.process and self.process.stdin
        self._untold = False
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(settings_json.encode() + b"\n")
            self.process.stdin.flush()

    def listen(self, seconds: float) -> bool:
        """Wait so long, or until it ended, for what it says; whether it is ready."""
        deadline = time.monotonic() + seconds
        stream = self.process.stdout if self.process else None
        if stream is None or stream.closed:
            time.sleep(0 if self.ready.is_set() else seconds)
            return self.ready.is_set()
        while not self.ready.is_set():
            if not select.select([stream], [], [], max(deadline - time.monotonic(), 0))[0]:
                break
            said = os.read(stream.fileno(), 65536)
            if not said:
                stream.close()
                break
            *lines, self._heard = (self._heard + said).split(b"\n")
            for line in lines:
                self._hear(line)
        return self.ready.is_set()

    def tend(self, settings_json: str) -> None:
        """Start it again if it died; ChildFailed when it never became ready because of its settings."""
        assert self.process
        self.listen(0)
        status = self.process.poll()
        if status is None:
            return
        now = time.monotonic()
        if not self._again_at:
            if status == EXIT_SETTINGS:
                raise ChildFailed(f"the {self.name} process cannot start: see the message above")
            self._failures = 0 if now - self._began > _STEADY_SECONDS else self._failures + 1
            pause = _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS)) - 1] if self._failures else 0.0
            self._again_at = now + pause
            log.error("child ended, starting it again", child=self.name, status=status, in_seconds=pause)
        if now >= self._again_at:
            self._again_at = 0.0
            self.start(settings_json)

    def stop(self, timeout: float) -> bool:
        """Ask it to finish its work and wait; False: it had to be killed."""
        if self.process is None or self.process.poll() is not None:
            self._let_go()
            return True
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
            return True
        except subprocess.TimeoutExpired:
            log.error("child does not stop, killing it", child=self.name, after_seconds=timeout)
            self.process.kill()
            self.process.wait()
            return False
        finally:
            self._let_go()

    def _spawn(self) -> subprocess.Popen[bytes] | Forked:
        if (run := self.fork) is not None and can_fork():
            return Forked(lambda: run(self.name), self.fds)
        return subprocess.Popen(
            [sys.executable, "-m", "flowtide.child", self.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=tuple(self.fds),
        )  # fmt: skip

    def _let_go(self) -> None:
        """Close our ends of one that ended."""
        for stream in (self.process.stdin, self.process.stdout) if self.process else ():
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _hear(self, line: bytes) -> None:
        with contextlib.suppress(ValueError):
            facts = json.loads(line)
            if isinstance(facts, dict):
                self.facts.update(facts)
                self.ready.set()


def say_ready(facts: Mapping[str, object]) -> None:
    """Called by a child: it works now, and this is where."""
    print(json.dumps(dict(facts)), flush=True)


def stop_event() -> threading.Event:
    """Called by a child: set when it is told to stop, or when its parent died (end of standard input)."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
    return stop


def address_of(fact: object) -> str:
    """``HOST:PORT`` of a child's fact."""
    assert isinstance(fact, Sequence)
    host, port = fact
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
