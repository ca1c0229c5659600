"""Each beginning and end of an alert is told once, over restarts and kills of the process that tells."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from random import Random

import pytest

from dashboards.alerts import outbox_file
from tests.receivers import Receiver, answer, reset

# A process with evaluator and notifier whose rows are a file's and whose hours are seconds: 60 of its seconds are one.
CHILD = """
import json, sys, threading, time
from pathlib import Path
from dashboards.alerts.memory import NAME
from dashboards.alerts.notify import Notifier
from dashboards.alerts.rulefile import load_rules
from dashboards.alerts.service import Evaluator
from dashboards.alerts.webhook_settings import Webhook

folder, hook, stop = Path(sys.argv[1]), json.loads(sys.argv[2]), threading.Event()
import signal
signal.signal(signal.SIGTERM, lambda *_: stop.set())

def now():
    return 1_800_000_000 + (time.time() - float(sys.argv[3])) * 60

def ask(sql):
    return [{"service": name, "value": 1.0} for name in json.loads((folder / "fires.json").read_text())] + [
        {"service": "calm", "value": 0.0}]

notifier = Notifier([Webhook(**hook)], folder, stopping=stop.is_set)
evaluator = Evaluator(load_rules(folder / "rules.yaml"), ask, folder / NAME, notifier=notifier)

def send():
    while not stop.wait(0.01):
        notifier.tend(now())

sender = threading.Thread(target=send)
sender.start()
print("ready", flush=True)
while not stop.wait(0.01):
    evaluator.tend(now())
sender.join()
"""

RULES = """
apiVersion: 1
groups:
  - orgId: 1
    name: trial
    folder: Flowtide
    interval: 10s
    rules:
      - uid: trial-r1
        title: R1 jump
        condition: C
        for: 0s
        noDataState: NoData
        execErrState: Error
        labels: {severity: warn, rule: R1}
        annotations: {summary: "{{ $labels.service }} rose"}
        data:
          - refId: A
            relativeTimeRange: {from: 300, to: 0}
            datasourceUid: flowtide-clickhouse
            model: {refId: A, rawSql: "SELECT service, value FROM trial", editorType: sql, queryType: table, format: 1}
          - refId: C
            relativeTimeRange: {from: 300, to: 0}
            datasourceUid: __expr__
            model: {refId: C, type: threshold, expression: A, conditions: [{evaluator: {type: gt, params: [0.5]}}]}
"""


class Process:
    """The child, started, stopped and killed."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self._folder, self._begin = folder, time.time()
        (folder / "rules.yaml").write_text(RULES)
        self._hook = {
            "name": "pager", "url": f"http://127.0.0.1:{receiver.port}/in", "group_wait_seconds": 5,
            "group_interval_seconds": 20, "timeout_seconds": 20,
        }  # fmt: skip
        self.fires()
        self._process: subprocess.Popen[str] | None = None

    def fires(self, *services: str) -> None:
        draft = self._folder / "fires.new"
        draft.write_text(json.dumps(services))
        draft.rename(self._folder / "fires.json")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(self._folder), json.dumps(self._hook), str(self._begin)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        while self._process.stdout.readline() != "ready\n":
            assert self._process.poll() is None

    def idle(self) -> bool:
        """Whether it has written down that every message arrived."""
        boxes = outbox_file.read(self._folder / outbox_file.NAME)
        return not any(box.flights() for box in boxes.values())

    def end(self, how: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(how)
        assert self._process.wait(20) == (0 if how == signal.SIGTERM else -signal.SIGKILL)
        assert self._process.stdout
        self._process.stdout.close()


def settle(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def by_key(receiver: Receiver) -> list[list[str]]:
    """The messages of a receiver that knows keys: what each says."""
    seen: dict[str, list[str]] = {}
    for _, headers, body in receiver.got:
        said = [f"{one['status']} {one['labels']['service']}" for one in json.loads(body)["alerts"]]
        assert seen.setdefault(headers["Idempotency-Key"], said) == said
    return list(seen.values())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(answer(200))
    yield found
    found.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_firing_and_resolved_come_once_each_over_a_restart_in_between(
    tmp_path: Path, receiver: Receiver, how: signal.Signals
) -> None:
    process = Process(tmp_path, receiver)
    process.start()
    process.fires("fixed")
    settle(lambda: len(receiver.got) == 1 and process.idle(), "nobody was told that it fires")
    process.end(how)
    process.start()
    time.sleep(1)  # a minute of its own: three intervals of the group
    assert len(receiver.got) == 1
    process.end(how)
    process.fires()  # it ends while nobody is there
    process.start()
    settle(lambda: len(receiver.got) == 2 and process.idle(), "nobody was told that it is over")
    process.end(how)
    process.start()
    time.sleep(1)
    process.end(signal.SIGTERM)
    assert by_key(receiver) == [["firing fixed"], ["resolved fixed"]]
    assert len(receiver.got) == 2


def test_a_kill_in_the_middle_of_a_post_repeats_it_under_the_same_key(tmp_path: Path, receiver: Receiver) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def hold(handler: BaseHTTPRequestHandler) -> None:
        arrived.set()
        go_on.wait(20)
        answer(200)(handler)

    receiver.act = hold
    process = Process(tmp_path, receiver)
    process.start()
    process.fires("fixed", "mobile")
    assert arrived.wait(20)
    process.end(signal.SIGKILL)
    receiver.act = answer(200)
    go_on.set()
    process.fires("mobile")  # and the world goes on meanwhile
    process.start()
    settle(lambda: len(by_key(receiver)) == 3, "what has resolved was not told")
    process.end(signal.SIGTERM)
    assert [sorted(said) for said in by_key(receiver)] == [["firing fixed"], ["firing mobile"], ["resolved fixed"]]
    assert Counter(headers["Idempotency-Key"] for _, headers, _ in receiver.got).most_common(1)[0][1] == 2
    assert len(receiver.got) == 4


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_over_many_kills_the_receiver_hears_each_beginning_and_end_once(
    tmp_path: Path, receiver: Receiver, seed: int
) -> None:
    random = Random(seed)
    process = Process(tmp_path, receiver)

    def late(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        answer(200)(handler)

    def moody(handler: BaseHTTPRequestHandler) -> None:
        random.choice([answer(200), answer(200), answer(500), reset, late])(handler)

    receiver.act = moody
    last: list[str] = []
    for _ in range(int(os.environ.get("FLOWTIDE_KILLS", "15"))):
        process.start()
        for _ in range(random.randrange(1, 4)):
            last = random.sample(["a", "b", "c"], random.randrange(4))
            process.fires(*last)
            time.sleep(random.random() * 0.6)
        process.end(signal.SIGKILL if random.random() < 0.7 else signal.SIGTERM)
    receiver.act = answer(200)
    process.start()

    def known() -> dict[str, bool]:
        found: dict[str, bool] = {}
        for said in by_key(receiver):
            for one in said:
                status, service = one.split()
                assert (status == "firing") != found.get(service, False), f"{one} twice"
                found[service] = status == "firing"
        return found

    settle(lambda: {name for name, firing in known().items() if firing} == set(last), f"{known()}, {last} fire", 30)
    process.end(signal.SIGTERM)
