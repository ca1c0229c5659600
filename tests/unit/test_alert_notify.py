"""Who is told of what, and when: groups, repeats, retries, silences, restarts; with our own clock and network."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Counter as Counted
from prometheus_client import Gauge

from dashboards.alerts import outbox, outbox_file
from dashboards.alerts.notify import Notifier
from dashboards.alerts.notify_metrics import ATTEMPTS, GIVEN_UP, WAITING
from dashboards.alerts.post import LATER, REFUSED, TOLD, Answer
from dashboards.alerts.silences import add
from dashboards.alerts.states import Event, Instance
from dashboards.alerts.webhook_settings import Webhook

BEGIN = 1_800_000_000.0
DOWN = Answer(LATER, "webhook pager (pager.example): Connection refused", reached=False)


class Killed(BaseException):
    """The process ends here, whatever it was doing."""


@dataclass
class Network:
    """Receivers, and what they were sent: the form of the webhook does not matter here."""

    answers: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    sent: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)  # of those that took it

    def post(self, webhook: Webhook, body: bytes, key: str) -> Answer:
        answer = self.answers.get(webhook.name, lambda: Answer(TOLD))()
        if answer.outcome == TOLD:
            self.sent.append((webhook.name, key, json.loads(body)))
        return answer

    def words(self, name: str = "pager") -> list[str]:
        """Each message as its alerts: +service fires, -service has resolved."""
        return [
            " ".join(("+" if one["status"] == "firing" else "-") + one["labels"]["service"] for one in body["alerts"])
            for to, _, body in self.sent if to == name
        ]  # fmt: skip


def instance(service: str = "fixed", severity: str = "warn", rule: str = "R1", **more: Any) -> Instance:
    labels = {"service": service, "severity": severity, "rule": rule}
    return Instance(**{
        "uid": f"{rule}-{severity}", "rule": rule, "title": f"{rule} {severity}", "labels": labels, "state": "firing",
        "since": BEGIN, **more,
    })  # fmt: skip


@dataclass
class Trial:
    """A notifier over a folder, and time that only moves here."""

    folder: Path
    webhooks: list[Webhook]
    network: Network = field(default_factory=Network)
    now: float = BEGIN
    firing: list[Instance] = field(default_factory=list)
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.notifier = Notifier(self.webhooks, self.folder, clock=lambda: 0.0, post=self.network.post)

    def fire(self, *services: str, **more: Any) -> None:
        self.become([instance(service, since=self.now, **more) for service in services])

    def become(self, firing: Sequence[Instance], events: Sequence[Event] = ()) -> None:
        """From now on exactly these fire; those that fired before go on with their own beginning."""
        known = {(each.uid, each.labels["service"]): each for each in self.firing}
        self.firing = [known.get((each.uid, each.labels["service"]), each) for each in firing]
        self.notifier.take(events, self.firing, self.now)

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass; rules are evaluated once a minute."""
        until = self.now + seconds
        while self.now < until:
            self.now += step
            if self.now % 60 < step:
                self.notifier.take((), self.firing, self.now)
            self.notifier.tend(self.now)


def webhook(name: str = "pager", **more: Any) -> Webhook:
    return Webhook(**{"name": name, "url": f"http://{name}.example/in", "group_by": ("alertname",), **more})


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path, [webhook()])


def test_the_first_message_of_a_group_waits_for_others(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(20)
    trial.fire("fixed", "mobile")
    trial.run(9)
    assert trial.network.sent == []
    trial.run(1)
    assert trial.network.words() == ["+fixed +mobile"]


def test_what_comes_later_waits_for_the_groups_interval(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(60)
    trial.fire("fixed", "mobile")
    trial.run(269)  # the first message was at 30 s, the next is at 330
    assert trial.network.words() == ["+fixed"]
    trial.run(1)
    assert trial.network.words() == ["+fixed", "+fixed +mobile"]


def test_an_end_is_told_once_and_the_next_beginning_is_a_new_group(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(100)
    trial.become(
        [], [Event("resolved", replace(instance(), state="normal", since=BEGIN + 97, until=BEGIN + 97), BEGIN + 97)]
    )
    trial.run(2_000)
    assert trial.network.words() == ["+fixed", "-fixed"]
    assert trial.network.sent[1][2]["alerts"][0]["endsAt"] == "2027-01-15T08:01:37.000Z"
    trial.fire("fixed")
    trial.run(30)
    assert trial.network.words() == ["+fixed", "-fixed", "+fixed"]


def test_what_was_never_told_is_not_told_to_be_over(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(20)
    trial.become([])
    trial.run(5_000)
    assert trial.network.sent == []


def test_what_ends_and_begins_between_two_messages_is_no_news(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(60)
    trial.become([])
    trial.run(60)
    trial.fire("fixed")
    trial.run(2_000)
    assert trial.network.words() == ["+fixed"]


def test_what_still_fires_is_said_again_after_the_repeat_interval(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(30 + 3 * 14_400, step=10)
    assert trial.network.words() == ["+fixed"] * 4
    assert len({key for _, key, _ in trial.network.sent}) == 4


def test_different_groups_have_their_own_messages(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook(group_by=("alertname", "service")), webhook("chat", group_by=())])
    trial.fire("fixed", "mobile")
    trial.run(40)
    assert sorted(trial.network.words()) == ["+fixed", "+mobile"]
    assert trial.network.words("chat") in (["+fixed +mobile"], ["+mobile +fixed"])


def test_a_webhook_is_told_only_of_what_it_wants(tmp_path: Path) -> None:
    hooks = [
        webhook(least_severity="page"),
        webhook("chat", match=("service=~f.*",)),
        webhook("all", least_severity="info"),
    ]
    trial = Trial(tmp_path, hooks)
    trial.become([instance("fixed", "warn"), instance("mobile", "page", "R0"), instance("idle", "info", "R5"),
                  instance("odd", "dire", "X")])  # fmt: skip
    trial.run(40)
    assert sorted(trial.network.words()) == ["+mobile", "+odd"]  # a severity that nobody knows is a grave one
    assert trial.network.words("chat") == ["+fixed"]
    assert sorted(trial.network.words("all")) == ["+fixed", "+idle", "+mobile", "+odd"]


def test_a_graver_alert_of_the_same_rule_speaks_for_the_others(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook()])
    page, warn = instance(severity="page", rule="R0"), instance(severity="warn", rule="R0")
    trial.become([warn, page, instance("mobile", "warn", "R0")])
    trial.run(40)
    assert [(body["alerts"][0]["labels"]["severity"], len(body["alerts"])) for _, _, body in trial.network.sent] == [
        ("page", 1), ("warn", 1),
    ]  # fmt: skip
    assert trial.network.words() == ["+fixed", "+mobile"]
    trial.network.sent.clear()
    trial.become([warn, instance("mobile", "warn", "R0")])  # the page ends, the warning does not
    trial.run(400)
    assert sorted(word for words in trial.network.words() for word in words.split()) == ["+fixed", "+mobile", "-fixed"]


def test_rules_of_an_operator_without_a_label_of_their_own_do_not_mute_each_other(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook()])
    trial.become([replace(instance(severity=severity), labels={"service": "x", "severity": severity}, title=severity)
                  for severity in ("warn", "page")])  # fmt: skip
    trial.run(40)
    assert trial.network.words() == ["+x", "+x"]


def test_errors_are_told_when_they_last_and_as_one(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook(), webhook("quiet", errors=False)])
    errors = [instance("", "warn", rule, state="error", since=BEGIN) for rule in ("R1", "R2", "R6")]
    trial.become(errors)
    trial.run(120)
    trial.become([])
    trial.run(600)
    assert trial.network.sent == []  # a short one
    trial.become([replace(each, since=trial.now) for each in errors])
    trial.run(1_000)
    assert [(body["commonLabels"]["alertname"], len(body["alerts"])) for _, _, body in trial.network.sent] == [
        ("DatasourceError", 3)
    ]
    assert {each["labels"]["rulename"] for each in trial.network.sent[0][2]["alerts"]} == {
        "R1 warn",
        "R2 warn",
        "R6 warn",
    }
    trial.become([])
    trial.run(400)
    assert [body["status"] for _, _, body in trial.network.sent] == ["firing", "resolved"]


def test_silenced_alerts_wait_until_the_silence_ends(trial: Trial, tmp_path: Path) -> None:
    def silence(service: str, until: float) -> None:
        add(tmp_path / "silences.json", [f"service={service}"], trial.now, until, "ann", "x", trial.now)

    silence("fixed", BEGIN + 1_000)
    trial.fire("fixed", "mobile")
    trial.run(990)
    assert trial.network.words() == ["+mobile"]
    trial.run(400)
    assert trial.network.words() == ["+mobile", "+fixed +mobile"] or trial.network.words()[1] == "+mobile +fixed"
    trial.network.sent.clear()
    silence("mobile", trial.now + 1_000)
    silence("late", trial.now + 1_000)
    trial.fire("fixed", "mobile", "late")
    trial.run(10)
    trial.become([])  # of the one that was never told nothing is said; the other's end is said also now
    trial.run(3_000)
    assert sorted(" ".join(trial.network.words()).split()) == ["-fixed", "-mobile"]


def test_a_receiver_that_is_down_gets_the_same_message_until_it_takes_it(trial: Trial) -> None:
    tries: list[float] = []
    bodies: set[tuple[bytes, str]] = set()

    def post(_: Webhook, body: bytes, key: str) -> Answer:
        tries.append(trial.now - BEGIN)
        bodies.add((body, key))
        return DOWN

    trial.notifier._post = post
    trial.fire("fixed")
    trial.run(3_600)
    assert tries[:6] == [30, 31, 33, 37, 45, 61]  # pauses of 1, 2, 4, 8, 16 s
    assert {later - sooner for sooner, later in pairwise(tries[10:])} == {300}
    assert len(bodies) == 1
    assert trial.notifier.problems() == [DOWN.problem]
    trial.become([])
    trial.notifier._post = trial.network.post
    trial.run(400)
    assert trial.network.words() == ["+fixed", "-fixed"]  # that it fired is told although it is over
    assert trial.notifier.problems() == []


def test_the_receivers_own_pause_is_kept(trial: Trial) -> None:
    tries = []

    def busy() -> Answer:
        tries.append(trial.now - BEGIN)
        return Answer(LATER, "webhook pager (pager.example): status 429", wait_seconds=120)

    trial.network.answers["pager"] = busy
    trial.fire("fixed")
    trial.run(300)
    assert tries == [30, 150, 270]


def test_a_message_that_is_refused_is_given_up_and_the_groups_next_is_tried(trial: Trial) -> None:
    tries = []

    def refuse() -> Answer:
        tries.append(trial.now - BEGIN)
        return Answer(REFUSED, "webhook pager (pager.example): status 403")

    trial.network.answers["pager"] = refuse
    trial.fire("fixed")
    trial.run(200)
    assert tries == [30, 31, 33, 37, 45]
    assert trial.notifier.problems() == [
        "webhook pager (pager.example): status 403; a message was given up after 5 tries"
    ]
    trial.network.answers.clear()
    trial.run(200)
    assert trial.network.words() == ["+fixed"]
    assert trial.notifier.problems() == []


def test_a_receiver_that_is_down_for_days_is_told_what_is_true_then(trial: Trial) -> None:
    trial.network.answers["pager"] = lambda: DOWN
    trial.fire("fixed")
    trial.run(3_600, step=10)
    trial.fire("mobile")
    trial.run(2 * 86_400, step=60)
    trial.become([])
    trial.run(3 * 86_400, step=60)
    assert outbox_file.read(trial.folder / outbox_file.NAME)["pager"] == outbox.Box(
        sequence=outbox_file.read(trial.folder / outbox_file.NAME)["pager"].sequence,
        given_up=trial.notifier.problems()[-1],
    )
    trial.network.answers.clear()
    trial.fire("late")
    trial.run(60)
    assert trial.network.words() == ["+late"]


def test_one_receiver_that_is_down_does_not_hold_up_another(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook(group_by=("service",)), webhook("chat", group_by=("service",))])
    asked: Counter[str] = Counter()

    def down() -> Answer:
        asked["pager"] += 1
        return DOWN

    trial.network.answers["pager"] = down
    trial.fire(*(f"s{number}" for number in range(50)))
    trial.now += 30
    trial.notifier.tend(trial.now)
    assert len(trial.network.words("chat")) == 50
    assert asked["pager"] == 1  # the others would wait for the same


def test_sending_ends_in_time_and_goes_on_where_it_was(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook(group_by=("service",))])
    spent = [0.0]

    def slow() -> Answer:
        spent[0] += 8
        return Answer(TOLD)

    trial.network.answers["pager"] = slow
    trial.notifier._clock = lambda: spent[0]
    trial.fire(*(f"s{number}" for number in range(9)))
    rounds = []
    for _ in range(3):
        trial.now += 60
        trial.notifier.tend(trial.now)
        rounds.append(len(trial.network.sent))
    assert rounds == [4, 8, 9]
    assert len(set(trial.network.words())) == 9


def test_alerts_beyond_the_bound_are_left_out_and_said(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_ALERTS", 3)
    trial.fire("a", "b", "c", "d", "e")
    trial.run(40)
    assert len(trial.network.words()[0].split()) == 3


def test_a_clock_that_is_set_back_silences_nobody(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(40)
    trial.now -= 50_000
    trial.fire("fixed", "mobile")  # of a group whose next message was for a time that is far now
    trial.run(400)
    assert trial.network.words()[-1] in ("+fixed +mobile", "+mobile +fixed")
    trial.network.answers["pager"] = lambda: DOWN
    trial.become([*trial.firing, instance("other", rule="R2", since=trial.now)])
    trial.run(40)
    trial.network.answers.clear()
    trial.now -= 50_000
    trial.run(3_700, step=10)
    assert "+other" in trial.network.words()


def test_other_settings_after_a_restart(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook(), webhook("gone")])
    trial.fire("fixed", "mobile")
    trial.run(40)
    trial.network.sent.clear()
    trial.webhooks = [webhook(group_by=("service",), match=("service=fixed",))]
    trial.restart()
    trial.run(1_000)
    assert trial.network.sent == []  # known under other groups
    trial.become([])
    trial.run(400)
    assert sorted(trial.network.words()) == ["-fixed", "-mobile"]  # of the second too: its beginning was told
    trial.fire("fixed", "mobile")
    trial.run(60)
    assert trial.network.words()[2:] == ["+fixed"]


def test_a_file_that_cannot_be_read_is_put_aside(trial: Trial) -> None:
    trial.fire("fixed")
    trial.run(40)
    (trial.folder / outbox_file.NAME).write_text('{"version": 1')
    trial.restart()
    trial.run(100)
    assert (trial.folder / f"{outbox_file.NAME}.broken").read_text() == '{"version": 1'
    assert trial.network.words() == ["+fixed", "+fixed"]  # nobody knows any more that it was told


def test_a_full_disk_keeps_nobody_from_being_told(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(outbox_file, "write", full)
        with pytest.raises(OSError, match="No space"):
            trial.fire("fixed")
        for _ in range(40):
            trial.now += 1
            trial.notifier.tend(trial.now)
        assert trial.network.words() == ["+fixed"]
        assert "No space left on device" in trial.notifier.problems()[0]
    trial.run(60)
    assert trial.notifier.problems() == []
    trial.restart()
    trial.run(400)
    assert trial.network.words() == ["+fixed"]


def test_what_is_shown_of_webhooks(trial: Trial) -> None:
    trial.fire("fixed", "mobile")
    trial.run(40)
    assert trial.notifier.as_json() == [
        {"name": "pager", "form": "grafana", "told": 2, "waiting": 0, "problem": ""}
    ]  # fmt: skip


SERVICES = ("a", "b", "c")
STEPS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(SERVICES)),  # what fires from now on
        st.sampled_from(["", "", "restart", "down", "up", "kill before", "kill after"]),
        st.integers(1, 90),  # seconds until the next
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@given(STEPS, st.booleans())
@settings(deadline=None, max_examples=40)
def test_over_restarts_kills_and_outages_each_beginning_and_end_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[set[str], str, int]], by_service: bool
) -> None:
    """A receiver that knows keys sees begin, end, begin, end of each alert; in the end it knows exactly what fires."""
    folder = tmp_path_factory.mktemp("notify")
    hook = webhook(group_by=("service",) if by_service else (), group_wait_seconds=5, group_interval_seconds=20)
    trial, kill = Trial(folder, [hook]), [""]
    seen: dict[str, dict[str, Any]] = {}  # by key: what a receiver makes of it
    posts: list[str] = []
    excused: set[str] = set()  # keys of posts in whose middle the process was killed
    down = [False]

    def post(webhook: Webhook, body: bytes, key: str) -> Answer:
        if down[0]:
            return DOWN
        if kill[0] == "kill before":
            kill[0] = ""
            excused.add(key)
            raise Killed
        posts.append(key)
        seen.setdefault(key, json.loads(body))
        if kill[0] == "kill after":
            kill[0] = ""
            excused.add(key)
            raise Killed
        return Answer(TOLD)

    def one_second() -> None:
        trial.now += 1
        try:
            trial.notifier.take((), trial.firing, trial.now)
            trial.notifier.tend(trial.now)
        except Killed:
            trial.restart()

    trial.network.post = post  # type: ignore[method-assign]
    trial.restart()
    for fires, what, length in [*steps, (set(), "up", 0), (steps[-1][0], "up", 1)]:
        if what in ("up", "down"):
            down[0] = what == "down"
        elif what == "restart":
            trial.restart()
        elif what:
            kill[0] = what
        if length:
            trial.fire(*sorted(fires))
        for _ in range(length):
            one_second()
    for _ in range(120):  # longer than any pause
        trial.now += 9
        one_second()
    assert {key for key, count in Counter(posts).items() if count > 1} <= excused
    known: dict[str, bool] = {}
    for message in seen.values():
        news = 0
        for each in message["alerts"]:
            service, firing = each["labels"]["service"], each["status"] == "firing"
            assert firing or known.get(service), f"the end of {service} twice, or without its beginning"
            news += known.get(service, False) != firing
            known[service] = firing
        assert news, "a message without news"
    assert {service for service, firing in known.items() if firing} == steps[-1][0]


def test_a_process_that_stops_sends_no_further_message(tmp_path: Path) -> None:
    trial = Trial(tmp_path, [webhook(group_by=("service",))])
    trial.fire("a", "b", "c")
    trial.notifier._stopping = lambda: len(trial.network.sent) >= 2
    trial.run(60)
    assert len(trial.network.sent) == 2
    trial.restart()
    trial.run(60)
    assert sorted(trial.network.words()) == ["+a", "+b", "+c"]


def test_every_attempt_is_counted_by_what_became_of_it(tmp_path: Path) -> None:
    def counts() -> list[float]:
        attempts = [ATTEMPTS.labels("counted", outcome) for outcome in (TOLD, LATER, REFUSED)]
        found: list[Counted | Gauge] = [*attempts, GIVEN_UP.labels("counted"), WAITING.labels("counted")]
        return [each._value.get() for each in found]

    before = counts()
    trial = Trial(tmp_path, [webhook("counted")])
    answers = [DOWN, DOWN, *[Answer(REFUSED, "webhook counted (x): status 400")] * 5, DOWN]
    trial.network.answers["counted"] = lambda: answers.pop(0) if answers else Answer(TOLD)
    trial.fire("fixed")
    trial.run(330)
    assert [after - sooner for after, sooner in zip(counts(), before, strict=True)] == [0, 3, 5, 1, 1]
    trial.run(60)
    assert [after - sooner for after, sooner in zip(counts(), before, strict=True)] == [1, 3, 5, 1, 0]
