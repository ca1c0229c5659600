"""The bounded folder of messages that no repeat can mend."""

import json
import os
from pathlib import Path

from sinks import Message
from sinks.dead_letters import BurialLimit, DeadLetters


def message(offset: int, octets: int = 10) -> Message:
    return Message(1, offset, {"kind": "flow"}, bytes(octets))


def test_a_letter_is_the_body_and_all_that_is_known_of_it(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "letters")
    body = letters.bury("flows.raw", "0123456789abcdef", message(7), "not an Arrow stream")
    assert body.read_bytes() == bytes(10)
    assert json.loads(body.with_suffix(".json").read_text()) == {
        "reason": "not an Arrow stream", "stream": "flows.raw", "stream_id": "0123456789abcdef", "partition": 1,
        "offset": 7, "headers": {"kind": "flow"},
    }  # fmt: skip
    letters.bury("flows.raw", "0123456789abcdef", message(7), "the same again after a crash")
    assert letters.count() == 1


def test_the_oldest_go_first(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, max_bytes=5_000, max_files=8)
    for offset in range(10):
        body = letters.bury("flows.raw", "id", message(offset), "bad")
        for path in (body, body.with_suffix(".json")):
            os.utime(path, (offset + 1, offset + 1))
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == [f"flows.raw-id-1-{n}" for n in range(6, 10)]
    letters.bury("flows.raw", "id", message(99, octets=20_000), "larger than the bound: kept until the next")
    assert [path.stem for path in tmp_path.glob("*.arrow")] == ["flows.raw-id-1-99"]


def test_burials_in_a_row_end(tmp_path: Path) -> None:
    limit = BurialLimit(in_a_row=3, seconds=100)
    for now in (0.0, 1.0, 2.0):
        assert limit.allow(now)
        limit.buried(now)
    assert not limit.allow(3.0)
    limit.sound()
    assert limit.allow(3.0)
    for now in (4.0, 5.0, 6.0):
        limit.buried(now)
    assert not limit.allow(103.0)
    assert limit.allow(104.0)
