import hmac
from pathlib import Path

import numpy as np
import pytest

from enricher.subscribers import (
    KEY_BYTES,
    KeyFileError,
    changed_ids,
    key_check,
    load_key,
    load_or_make_key,
    replace_key,
    sub_id,
    sub_ids,
)
from tests.rekey_rows import USERS, id_of, id_of_unknown


# RFC 4231 section 4.3: HMAC-SHA-256 of "what do ya want for nothing?" under "Jefe".
def test_the_hash_is_hmac_sha_256() -> None:
    digest = hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha256")
    assert digest.hex().startswith("5bdcc146bf60754e")


@pytest.mark.parametrize("key", [b"k" * 16, bytes(range(64)), b"longer than a block of the hash " * 3])
def test_many_are_hashed_as_one(key: bytes) -> None:
    users = [("fixed", "名前-1", "pppoe"), ("fixed", "1", "ipoe"), ("mobile", "090-0000-0000", "mobile")]
    expected = [
        hmac.new(key, text.encode(), "sha256").digest()[:8]
        for text in ("fixed\0名前-1\0pppoe", "fixed\x001\0ipoe", "mobile\x00090-0000-0000")
    ]
    assert sub_ids(key, users).astype(">u8").tobytes() == b"".join(expected)
    assert [sub_id(key, *user) for user in users] == sub_ids(key, users).tolist()


def test_a_subscription_on_two_accesses_is_two_users() -> None:
    assert sub_id(b"k" * 32, "fixed", "1", "pppoe") != sub_id(b"k" * 32, "fixed", "1", "ipoe")


def test_a_mobile_line_is_one_user_whatever_its_access() -> None:
    assert sub_id(b"k" * 32, "mobile", "1", "mobile") == sub_id(b"k" * 32, "mobile", "1", "other")


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "subscriber.key"
    key = load_or_make_key(path)
    assert len(key) == KEY_BYTES
    assert load_or_make_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["subscriber.key"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_or_make_key(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_make_key(path)


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    with pytest.raises(KeyFileError, match="0 bytes are no key"):
        load_or_make_key(path)


def test_ids_of_nobody_known_are_counted_and_hidden_from_the_old_key() -> None:
    old, new = b"the old key of the tests", b"the new key of the tests"
    before = sorted(id_of(old, *user) for user in USERS)
    gone = id_of(old, *USERS[3])
    expected = {id_of(old, *user): id_of(new, *user) for user in USERS[:3]} | {gone: id_of_unknown(new, gone)}
    after, unknown = changed_ids(old, new, [*USERS[:3], ("fixed", "never seen", "ipoe")], np.array([0, *before], "u8"))
    assert after.tolist() == [0, *(expected[number] for number in before)] and unknown == 1
    assert changed_ids(old, new, USERS, np.array([0], "u8"))[0].tolist() == [0]
    assert changed_ids(old, new, USERS, np.array([], "u8"))[1] == 0
    assert changed_ids(old, new, [], np.array(before, "u8"))[1] == 4


def test_a_key_is_known_by_its_check_value_which_tells_nothing_of_it() -> None:
    key = bytes(range(32))
    assert key_check(key) == hmac.new(key, b"flowtide key check", "sha256").hexdigest()[:16]
    assert key_check(key) != key_check(key[:-1] + b"x")


def test_a_key_takes_the_place_of_another_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "subscriber.key"
    load_or_make_key(path)
    replace_key(path, b"another key of the tests")
    assert load_key(path) == b"another key of the tests" and path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["subscriber.key"]
    with pytest.raises(KeyFileError, match="No such file"):
        load_key(tmp_path / "none")
