"""The doctor's word on a gap, and what it sees of a data directory where nothing runs."""

from pathlib import Path

import pytest

from flowtide.doctor import look, run_accept_gap
from flowtide.errors import Failure
from flowtide.settings import Settings
from sinks.gaps import Gap, is_accepted, show_gap
from sinks.settings import BusSettings, StoreSettings


def test_a_gap_is_accepted_only_when_it_is_there_and_confirmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, gap = Settings(data=tmp_path), Gap("0123456789ab", 1, 40, 45, 7)
    folder = tmp_path / "state" / "gaps"
    with pytest.raises(Failure, match="waits at a gap"):
        run_accept_gap(settings, 1, lambda question: True)
    show_gap(folder, gap)
    assert run_accept_gap(settings, 1, lambda question: False) == 1
    assert not is_accepted(folder, gap)
    assert run_accept_gap(settings, 1, lambda question: True) == 0
    assert is_accepted(folder, gap)
    assert "[40, 45)" in capsys.readouterr().out


def test_every_stage_has_its_line(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path, bus=BusSettings(url="kafka://nowhere"), store=StoreSettings(url="http://127.0.0.1:1")
    )
    show_gap(tmp_path / "state" / "gaps", Gap("0123456789ab", 1, 40, 45, 7))
    (tmp_path / "dead-letter").mkdir()
    (tmp_path / "dead-letter" / "x.json").write_text("{}")
    found = {finding.stage: finding for finding in look(settings)}
    assert {name for name, finding in found.items() if not finding.healthy} - {"disk", "socket"} == {
        "bus", "store", "partitions", "dead letters",
    }  # fmt: skip
    assert "HOST:PORT" in found["bus"].text
    assert "--accept-gap 1" in found["partitions"].text
