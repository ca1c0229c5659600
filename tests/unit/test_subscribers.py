import hmac
from pathlib import Path

import pytest

from enricher.subscribers import KEY_BYTES, KeyFileError, load_or_make_key, sub_id, sub_ids


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
