"""What happens to the console's process never ends its parent."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dashboards.settings import ConsoleSettings
from flowtide.children import EXIT_SETTINGS, Child
from flowtide.console import ConsoleProcess
from flowtide.settings import Settings

STORE = "http://127.0.0.1:9"


def settings(tmp_path: Path, **console: Any) -> Settings:
    return Settings(data=tmp_path, console=ConsoleSettings(**{"listen": "127.0.0.1:0", **console}))


def played_by(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let this Python program be the child."""
    popen = subprocess.Popen
    monkeypatch.setattr(
        "flowtide.children.subprocess.Popen", lambda _, **named: popen([sys.executable, "-c", program], **named)
    )


def test_no_console_is_wanted(tmp_path: Path) -> None:
    process = ConsoleProcess()
    assert process.start(settings(tmp_path, listen=""), STORE) == ""
    process.tend()
    assert process.child.pid is None
    process.close()


def test_one_that_cannot_start_is_not_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played_by(monkeypatch, f"raise SystemExit({EXIT_SETTINGS})")
    process = ConsoleProcess()
    assert process.start(settings(tmp_path), STORE) == ""
    for _ in range(3):
        process.tend()
    assert process.child.starts == 1
    process.close()


def test_no_process_for_it_is_no_end_of_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(child: Child, message: str) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Child, "start", refuse)
    process = ConsoleProcess()
    assert process.start(settings(tmp_path), STORE) == ""
    process.tend()
    process.close()


def test_it_takes_the_same_port_when_it_starts_again(tmp_path: Path) -> None:
    process = ConsoleProcess()
    url = process.start(settings(tmp_path), STORE)
    try:
        assert url.startswith("http://127.0.0.1:")
        first = process.child.process
        assert first is not None
        first.send_signal(signal.SIGKILL)
        first.wait()
        while process.child.starts < 2:
            process.tend()
        assert process.child.listen(60)
        assert process.child.facts["console"] == ["127.0.0.1", int(url.rpartition(":")[2])]
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close()
    finally:
        process.close()
    assert process.child.pid is None
