"""The console beside a stack, beside ``serve`` and by itself: what dies is started again, and takes nothing with it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.console_store import Address, ask, send
from tests.end_to_end.conftest import Running
from tests.end_to_end.test_commands import flowtide
from tests.shared import shared_folder

SOFTFLOWD, PMACCT = ("ipfix_softflowd_live.pcap", 340), ("v9_pmacctd_nfprobe.pcap", 330)
COUNT = {"sql": "SELECT count() AS n FROM flows WHERE copy != 1"}


def at(url: str) -> Address:
    found = urlsplit(url)
    assert found.hostname and found.port
    return found.hostname, found.port


def replay(running: Running, capture: tuple[str, int]) -> None:
    path = shared_folder("captures") / "pcap" / capture[0]
    sent = flowtide("replay", str(path), "--to", f"127.0.0.1:{running.port}", cwd=running.folder)
    assert sent.returncode == 0, sent.stderr


def counted(console: Address) -> int:
    return int(ask(console, "/api/sql", COUNT)["rows"][0][0])


def status(console: Address) -> tuple[int, str]:
    """Of a question to the console; 0: nobody is there."""
    try:
        found, _, body = send(console, "/api/sql", COUNT)
    except OSError:
        return 0, ""
    return found, str(json.loads(body).get("error", ""))


class Command:
    """One command that says where its console answers."""

    def __init__(self, running: Running, *words: str) -> None:
        self.log = running.folder / f"{words[0]}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flowtide", *words, "--config", str(running.config)],
                stdout=log, stderr=log, cwd=running.folder,
            )  # fmt: skip

    def console(self) -> Address:
        self.wait(lambda: "console: http://" in self.log.read_text())
        return at(self.log.read_text().partition("console: ")[2].split()[0])

    def wait(self, true: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def test_a_console_that_dies_and_a_store_that_dies_come_back_and_no_flow_is_lost(tmp_path: Path) -> None:
    running = Running(tmp_path, console="127.0.0.1:0")
    commands: list[Command] = []
    try:
        running.start()
        console = at(running.console)
        assert f"console: {running.console}\n" in running.log.read_text()
        assert running.children().keys() == {"collector", "store", "console"}
        replay(running, SOFTFLOWD)
        running.wait(lambda: counted(console) == 340, 60)
        assert running.totals()["flows"] == 340
        assert "noc" in [board["uid"] for board in ask(console, "/api/dashboards")]
        assert b"console_questions_total" in send(console, "/metrics")[2]

        # The console dies: the path goes on meanwhile, and it comes back where browsers have it.
        before = running.children()
        os.kill(before["console"], signal.SIGKILL)
        replay(running, PMACCT)
        running.wait(lambda: running.totals()["flows"] == 670, 60)
        running.wait(lambda: status(console)[0] == 200)
        assert counted(console) == 670
        after = running.children()
        assert after["console"] != before["console"]
        assert (after["store"], after["collector"]) == (before["store"], before["collector"])

        # The store dies: the console says so, and works again by itself.
        os.kill(after["store"], signal.SIGKILL)
        seen: set[tuple[int, str]] = set()

        def silent() -> bool:
            seen.add(status(console))
            return any(found == 503 for found, _ in seen)

        running.wait(silent)
        (text,) = {text for found, text in seen if found == 503}
        assert text.startswith(f"the store at {running.http} does not answer: ")
        assert send(console, "/")[0] == 200
        assert 0 not in {found for found, _ in seen}
        running.wait(lambda: status(console)[0] == 200, 60)
        assert counted(console) == 670
        assert running.children()["console"] == after["console"]
        assert running.stop() == 0
        assert status(console)[0] == 0
        assert "Traceback" not in running.log.read_text()

        # The directory is served without a path; a second console asks the same port.
        serve = Command(running, "serve")
        commands.append(serve)
        served = serve.console()
        assert counted(served) == 670
        assert json.loads((running.data / "state" / "running.json").read_text())["console"].endswith(f":{served[1]}")
        alone = Command(running, "console")
        commands.append(alone)
        assert alone.console() != served
        assert counted(alone.console()) == 670
        assert alone.stop() == 0
        assert alone.log.read_text().endswith("stopped\n")
        assert serve.stop() == 0
        assert "Traceback" not in serve.log.read_text() + alone.log.read_text()
    finally:
        running.kill()
        for command in commands:
            command.process.kill()
            command.process.wait()


@pytest.mark.soak
def test_a_console_that_cannot_listen_is_told_and_the_path_works_without_it(tmp_path: Path) -> None:
    running = Running(tmp_path, console="192.0.2.1:8080")  # of nobody's machine (RFC 5737)
    running.config.write_text(running.config.read_text() + 'proxy_header = "X-Forwarded-User"\n')
    try:
        running.start()
        assert running.console == ""
        text = running.log.read_text()
        assert "console.listen '192.0.2.1:8080'" in text and "going on without the console" in text
        assert "\nconsole: " not in text
        replay(running, SOFTFLOWD)
        running.wait(lambda: running.totals()["flows"] == 340, 60)
        assert running.children().keys() == {"collector", "store"}
        assert running.stop() == 0
    finally:
        running.kill()


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("run",), {"FLOWTIDE_CONSOLE__LISTEN": "0.0.0.0:0"}, "set console.users"),
        (("console",), {}, "nothing runs on"),
        (("console",), {"FLOWTIDE_CONSOLE__LISTEN": ""}, "console.listen is empty"),
        (("console",), {"FLOWTIDE_STORE__URL": "clickhouse://h:9000"}, "set console.store_url"),
        (("console",), {"FLOWTIDE_CONSOLE__USERS": '{"ann": "secret"}'}, "flowtide console --hash"),
        (("console",), {"FLOWTIDE_CONSOLE__LISTEN": "192.0.2.1:1", "FLOWTIDE_CONSOLE__PROXY_HEADER": "X-User",
                        "FLOWTIDE_CONSOLE__STORE_URL": "http://127.0.0.1:9"}, "console.listen '192.0.2.1:1'"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_sentence(
    words: tuple[str, ...], environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = flowtide(*words, cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
