"""A gap is shown by the sink and accepted by an operator, exactly and once."""

from pathlib import Path

from sinks.gaps import Gap, accept_gap, is_accepted, seen_gaps, settle_gap, show_gap

ID = "0123456789abcdef0123"


def test_a_gap_is_accepted_by_its_numbers_only(tmp_path: Path) -> None:
    gap = Gap(ID[:12], 2, 5, 9, 3)
    show_gap(tmp_path / "gaps", gap)
    assert seen_gaps(tmp_path / "gaps") == [gap]
    assert not is_accepted(tmp_path / "gaps", gap)
    accept_gap(tmp_path / "gaps", ID, 2, 5, 8)
    assert not is_accepted(tmp_path / "gaps", gap)
    accept_gap(tmp_path / "gaps", gap.stream, 2, 5, 9)
    assert is_accepted(tmp_path / "gaps", gap)
    assert not is_accepted(tmp_path / "gaps", Gap("another", 2, 5, 9))
    settle_gap(tmp_path / "gaps", ID, 2, stored=5)  # not passed yet
    assert is_accepted(tmp_path / "gaps", gap)
    settle_gap(tmp_path / "gaps", ID, 2, stored=12)
    assert list((tmp_path / "gaps").iterdir()) == []


def test_a_damaged_file_accepts_nothing(tmp_path: Path) -> None:
    gap = Gap(ID[:12], 0, 1, 2)
    path = accept_gap(tmp_path, ID, 0, 1, 2)
    for text in ("", "{", "[]", '{"start": 1, "end": 2}'):
        path.write_text(text)
        assert not is_accepted(tmp_path, gap)
    assert seen_gaps(tmp_path / "no such folder") == []


def test_the_words_name_the_gap_and_the_command() -> None:
    assert "[5, 9)" in str(Gap("s", 2, 5, 9)) and "flowtide doctor --accept-gap 2" in str(Gap("s", 2, 5, 9))
