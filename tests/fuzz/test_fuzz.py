"""The fuzz target, bounded: the corpus, and mutations of it for a moment."""

from pathlib import Path

import pytest

from tests.fuzz.target import CORPUS, join, run, search, split


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.bin")), ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    counted = run(path.read_bytes())
    assert counted["datagrams"] == len(list(split(path.read_bytes()))) + 2  # the good ones behind it


def test_mutations_break_no_promise(tmp_path: Path) -> None:
    assert len(list(CORPUS.glob("*.bin"))) > 10
    assert search(2.0, 20_261, tmp_path) > 10


def test_split_gives_back_what_was_joined() -> None:
    messages = [(0, b""), (15, b"abc"), (8, bytes(300))]
    assert list(split(join(messages))) == messages
