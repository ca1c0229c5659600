"""Silences and their matchers, the file they live in, and the command that writes it."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dashboards.alerts import silences
from dashboards.alerts.matchers import MatcherError, match, matcher, matchers
from dashboards.alerts.silences import SilenceError, Silences, add, expire, read
from flowtide.errors import Failure
from flowtide.silence_command import app, seconds

FIXED = {"alertname": "R1 jump", "rule": "R1", "service": "fixed", "exporter": "192.0.2.1"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("rule=R1", True), ("rule=R", False), ("rule=~R[12]", True), ("rule=~R", False), ("rule=~.*1", True),
        ("exporter=~192[.]0[.]2[.].*", True), ("exporter=~192", False), ("segment=", True), ("segment=x", False),
        ("alertname=R1 jump", True), ("rule=~R1|R2", True), ("exporter=~192\\.0\\.2\\.\\d+", True),
    ],
)  # fmt: skip
def test_a_matcher_holds_for_the_whole_value(text: str, holds: bool) -> None:
    assert matcher(text).matches(FIXED) is holds
    assert str(matcher(text)) == text


@pytest.mark.parametrize(
    "text",
    ["rule", "=R1", "ru le=R1", "rule=~(", "rule=~(a+)+", "rule=~(a|b)*", "rule=~a*b*c*d*", "rule=~(?:a)",
     "rule=~(a)\\1", "rule=~" + "a" * 201, "rule=a\nb", ""],
)  # fmt: skip
def test_matchers_that_cannot_be_read_or_can_take_for_ever_are_refused(text: str) -> None:
    with pytest.raises(MatcherError):
        matcher(text)


@given(st.text("ab.*+?|()[]\\{}^$12", max_size=30), st.text("ab.", max_size=400))
@settings(deadline=None, max_examples=300)
def test_whatever_is_taken_as_a_pattern_ends_soon(pattern: str, value: str) -> None:
    try:
        found = matcher(f"label=~{pattern}")
    except MatcherError:
        return
    began = time.perf_counter()
    found.matches({"label": value})
    assert time.perf_counter() - began < 2


def test_the_worst_pattern_that_is_taken_ends_soon() -> None:
    began = time.perf_counter()
    assert not matcher("label=~.*a.*a.*b").matches({"label": "a" * 300})
    assert time.perf_counter() - began < 2


def test_too_many_matchers_are_refused() -> None:
    with pytest.raises(MatcherError, match="more than 16"):
        matchers([f"a{number}=b" for number in range(17)])
    assert match((), FIXED)


def test_a_silence_holds_from_its_start_up_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "state" / "silences.json"
    seen = Silences(path)
    assert not seen.is_silenced(FIXED, 1_000)
    made = add(path, ["rule=R1", "service=fixed"], 1_100, 1_200, "ann", "work on the core", 1_000)
    found = {now: seen.is_silenced(FIXED, now) for now in (1_000, 1_099.9, 1_100, 1_199.9, 1_200)}
    assert found == {1_000: False, 1_099.9: False, 1_100: True, 1_199.9: True, 1_200: False}
    assert not seen.is_silenced(FIXED | {"service": "mobile"}, 1_150)
    assert [one["state"] for now in (1_000, 1_150, 1_200) for one in seen.as_json(now)] == ["pending", "active"]
    assert seen.as_json(1_150)[0] == {
        "id": made.id, "matchers": ["rule=R1", "service=fixed"], "starts": "1970-01-01T00:18:20Z",
        "ends": "1970-01-01T00:20:00Z", "author": "ann", "comment": "work on the core", "made": "1970-01-01T00:16:40Z",
        "state": "active",
    }  # fmt: skip


def test_an_expired_one_ends_now_and_is_forgotten_after_a_week(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    seen = Silences(path)
    made = add(path, ["rule=R1"], 1_000, 9_000, "ann", "x", 1_000)
    other = add(path, ["rule=R2"], 2_000, 9_000, "ann", "x", 1_000)
    expire(path, made.id[:7], 1_500)
    assert not seen.is_silenced(FIXED, 1_500)
    expire(path, other.id, 1_500)  # one that has not begun
    assert [one.state(1_500) for one in read(path)] == ["expired", "expired"]
    with pytest.raises(SilenceError, match="no silence in force"):
        expire(path, made.id, 1_600)
    add(path, ["rule=R3"], 1_500 + 6 * 86_400, 1_600 + 6 * 86_400, "ann", "x", 1_500 + 6 * 86_400)
    assert len(read(path)) == 3
    add(path, ["rule=R3"], 1_501 + 7 * 86_400, 1_600 + 7 * 86_400, "ann", "x", 1_501 + 7 * 86_400)
    assert [one.matchers for one in read(path)] == [("rule=R3",), ("rule=R3",)]


@pytest.mark.parametrize(
    ("texts", "ends", "comment", "word"),
    [
        (["rule=~.*"], 2_000, "x", "nearly all"), (["service="], 2_000, "x", "nearly all"),
        ([], 2_000, "x", "at least"), (["rule"], 2_000, "x", "label=value"),
        (["rule=R1"], 900, "x", "before it begins"), (["rule=R1"], 2_000, "  ", "comment"),
    ],
)  # fmt: skip
def test_silences_that_say_nothing_are_refused(
    tmp_path: Path, texts: list[str], ends: float, comment: str, word: str
) -> None:
    with pytest.raises(SilenceError, match=word):
        add(tmp_path / "silences.json", texts, 1_000, ends, "ann", comment, 1_000)
    assert not (tmp_path / "silences.json").exists()


@pytest.mark.parametrize(
    "text", ["{", '{"silences": [{"id": "x"}]}', '{"other": 1}', "[]", '{"silences": [], "silences2": []}']
)
def test_a_broken_file_leaves_the_last_good_silences_in_force(tmp_path: Path, text: str) -> None:
    path = tmp_path / "silences.json"
    seen = Silences(path)
    add(path, ["rule=R1"], 1_000, 9_000, "ann", "x", 1_000)
    assert seen.is_silenced(FIXED, 2_000) and not seen.problem
    path.write_text(text)
    assert seen.is_silenced(FIXED, 2_000)
    assert str(path) in seen.problem and "remove it" in seen.problem
    with pytest.raises(SilenceError, match="remove it"):  # a command does not write over what it cannot read
        add(path, ["rule=R2"], 1_000, 9_000, "ann", "x", 1_000)
    assert path.read_text() == text
    path.unlink()
    assert not seen.is_silenced(FIXED, 2_000) and not seen.problem


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "silences.json"
    monkeypatch.setattr(silences, "_MOST", 3)
    for number in range(3):
        add(path, [f"rule=R{number}"], 1_000, 9_000, "ann", "x", 1_000)
    with pytest.raises(SilenceError, match="has 3 silences already"):
        add(path, ["rule=R9"], 1_000, 9_000, "ann", "x", 1_000)
    monkeypatch.setattr(silences, "_MOST_BYTES", 100)
    with pytest.raises(SilenceError, match="larger than 100 bytes"):
        read(path)


def test_commands_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    threads = [
        threading.Thread(target=add, args=(path, [f"rule=R{number}"], 1_000, 9_000, "ann", "x", 1_000))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(path)) == 20
    assert {entry.name for entry in tmp_path.iterdir()} == {"silences.json", "silences.lock"}


@pytest.mark.parametrize(("text", "length"), [("90m", 5_400), ("1d12h", 129_600), ("45s", 45), ("2w", 1_209_600)])
def test_lengths_are_read(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "2h!", "-2h", "1.5h"])
def test_lengths_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(Failure, match="write a length"):
        seconds(text)


def run(arguments: list[str], data: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> Any:
    for name, value in {"FLOWTIDE_DATA": str(data), "FLOWTIDE_TIMEZONE": "Asia/Tokyo", **environment}.items():
        monkeypatch.setenv(name, value)
    outer = typer.Typer()
    outer.add_typer(app, name="silence")
    return CliRunner().invoke(outer, ["silence", *arguments])


def test_the_command_adds_lists_and_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(
        ["add", "rule=R1", "service=fixed", "--for", "2h", "--comment", "core", "--author", "ann"],
        tmp_path,
        monkeypatch,
    )
    assert made.exit_code == 0, made.output
    name = made.stdout.split()[0]
    assert Silences(tmp_path / "state" / "silences.json").is_silenced(FIXED, time.time() + 7_100)
    listed = run(["list"], tmp_path, monkeypatch).stdout
    assert name in listed and "JST" in listed and "rule=R1 service=fixed  (ann: core)" in listed
    assert "ended" in run(["expire", name[:5]], tmp_path, monkeypatch).stdout
    assert run(["list"], tmp_path, monkeypatch).stdout == "no silence in force\n"
    assert name in run(["list", "--all"], tmp_path, monkeypatch).stdout
    assert isinstance(run(["expire", "zz"], tmp_path, monkeypatch).exception, Failure)


def test_the_command_takes_local_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(["add", "rule=R1", "--from", "2099-12-24T18:00", "--until", "2099-12-24T10:30Z", "--comment", "x"],
               tmp_path, monkeypatch)  # fmt: skip
    assert made.exit_code == 0, made.output
    (silence,) = json.loads((tmp_path / "state" / "silences.json").read_text())["silences"]
    assert (silence["starts"], silence["ends"]) == ("2099-12-24T09:00:00Z", "2099-12-24T10:30:00Z")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["rule=R1", "--comment", "x"], "either --for"),
        (["rule=R1", "--comment", "x", "--for", "2h", "--until", "2099-01-01T00:00"], "either --for"),
        (["rule=R1", "--comment", "x", "--until", "tomorrow"], "Asia/Tokyo"),
        (["rule=R1", "--comment", "x", "--for", "500d"], "longer than a year"),
        (["rule=~(a+)+", "--comment", "x", "--for", "2h"], "for ever"),
    ],
)
def test_the_command_says_what_to_write_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], word: str
) -> None:
    refused = run(["add", *arguments], tmp_path, monkeypatch)
    assert isinstance(refused.exception, Failure) and word in str(refused.exception)


def test_a_label_that_no_rule_has_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(["add", "services=fixed", "--for", "2h", "--comment", "x"], tmp_path, monkeypatch)
    assert made.exit_code == 0
    assert "did you mean service?" in made.stderr
