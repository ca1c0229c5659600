"""Child processes of the all-in-one: started, watched, started again, and stopped in order."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

import structlog

log = structlog.get_logger("flowtide")

EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h: starting again would fail in the same way
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 30.0  # a child that lived so long starts again at once


class ChildFailed(Exception):  # noqa: N818
    """A child cannot start; its last words are on standard error."""


@dataclass(slots=True)
class Child:
    """One child process; its standard input carries the settings and, while open, says that the parent lives."""

    name: str
    fds: Sequence[int] = ()
    facts: dict[str, object] = field(default_factory=dict)  # what it said when it was ready
    starts: int = 0
    process: subprocess.Popen[str] | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    _began: float = 0.0
    _failures: int = 0
    _again_at: float = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def start(self, settings_json: str) -> None:
        """Start it; returns at once."""
        self._let_go()
        self.ready = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowtide.child", self.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=tuple(self.fds),
        )  # fmt: skip
        self.starts += 1
        self._began = time.monotonic()
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(settings_json + "\n")
            self.process.stdin.flush()
        threading.Thread(
            target=self._listen, args=(self.process.stdout, self.ready), name=f"{self.name} facts", daemon=True
        ).start()

    def tend(self, settings_json: str) -> None:
        """Start it again if it died; ChildFailed when it never became ready because of its settings."""
        assert self.process
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

    def _let_go(self) -> None:
        """Close our end of the input of one that ended; the end of its output closes itself."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def _listen(self, stream: IO[str], ready: threading.Event) -> None:
        with stream:
            for line in stream:
                with contextlib.suppress(json.JSONDecodeError):
                    facts = json.loads(line)
                    if isinstance(facts, dict):
                        self.facts.update(facts)
                        ready.set()


def say_ready(facts: Mapping[str, object]) -> None:
    """Called by a child: it works now, and this is where."""
    print(json.dumps(dict(facts)), flush=True)


def stop_event() -> threading.Event:
    """Called by a child: set when it is told to stop, or when its parent died (end of standard input).

    An interrupt from the keyboard goes to the whole group and is the parent's to handle: children ignore it.
    """
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
