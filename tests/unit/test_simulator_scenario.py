"""Scenario files: those of the repository load, and a mistake is told with its place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flowtide.simulator.scenario import SCENARIOS, ScenarioError, load_scenario

LEAST = 'title = "x"\n[[exporters]]\nsource = "127.0.0.2"\n'


@pytest.mark.parametrize("name", ["quiet", "noc", "incident-day", "report-week", "line-rate"])
def test_the_repositorys_scenarios_load_by_name(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.title and scenario.exporters
    assert (SCENARIOS / f"{name}.toml").exists()


def test_a_file_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LEAST)
    assert load_scenario(str(path)).exporters[0].protocol == "netflow9"


def test_times_are_texts_or_seconds(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LEAST + '[clock]\nlength = "2h"\n[[incidents]]\nkind = "quic_step"\nbegin = "90s"\nend = 120\n')
    scenario = load_scenario(str(path))
    assert scenario.clock.length == 7_200
    assert (scenario.incidents[0].begin, scenario.incidents[0].end) == (90, 120)


def test_the_begin_is_local_time() -> None:
    clock = load_scenario("report-week").clock
    # Monday 00:00 in Tokyo is Sunday 15:00 in UTC.
    assert clock.begin_ms(0) == datetime(2024, 6, 2, 15, tzinfo=UTC).timestamp() * 1000
    assert load_scenario("noc").clock.begin_ms(1234) == 1234


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title = 1 2", "Expected"),
        ('title = "x"', "exporters: Field required"),
        (LEAST + "rate = 3\n", "exporters.0.rate: Extra inputs"),
        (LEAST + 'protocol = "netflow7"\n', "exporters.0.protocol"),
        (LEAST + 'protocol = "netflow5"\n', "netflow5 has no options"),
        (LEAST + 'told = "header"\n', "the header of netflow9 has no interval"),
        (LEAST + 'form = "biflow"\n', "form biflow is of ipfix"),
        (LEAST + "sampling = 16385\n", "exporters.0.sampling"),
        (LEAST + 'protocol = "netflow5"\ntold = "header"\nsampling = 16384\n', "intervals up to 16383"),
        (LEAST + '[[exporters]]\nsource = "127.0.0.2"\n', "two exporters have the source 127.0.0.2"),
        (LEAST + '[[incidents]]\nkind = "clock_skew"\nexporter = "127.0.0.7"\n', "no exporter has the source"),
        (LEAST + '[[incidents]]\nkind = "flood"\n', "incidents.0.kind"),
        (LEAST + '[clock]\nlength = "soon"\n', "clock.length: interval 'soon'"),
        (LEAST + '[clock]\nzone = "Mars/Olympus"\n', "'Mars/Olympus' is not a time zone"),
        (LEAST + '[clock]\nbegin = "2024-06-03T00:00+09:00"\n', "a local time has no offset"),
        (LEAST + '[clock]\nbegin = "monday"\n', "clock.begin"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r"wrong\.toml") as found:
        load_scenario(str(path))
    assert says in str(found.value)


def test_an_unknown_name_lists_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="incident-day, line-rate, noc, quiet, report-week"):
        load_scenario("nosuch")
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match=r"bytes\.toml"):
        load_scenario(str(path))
