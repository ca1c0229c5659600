"""A subscriber's id: a keyed hash, so that flows can be counted by subscriber and name nobody.

A user is a subscription on one access (a line with PPPoE and IPoE is two users); on mobile it is the line, since one
subscription can have several.  The key never leaves its file: who has it can test names against ids.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sinks.segments import sync_folder

KEY_BYTES = 32  # RFC 2104 section 3: no less than the hash's length
_LEAST_KEY_BYTES = 16  # shorter ones can be searched
_CHECKED = b"flowtide key check"
_UNKNOWN = b"\xff\0former id\0"  # no text in UTF-8 has the first octet
_BLOCK = 64  # of SHA-256, RFC 2104 section 2


class KeyFileError(Exception):
    """The key file cannot be used; says which and what to do."""


def sub_id(key: bytes, service: str, subscriber: str, access: str) -> int:
    """First 8 bytes, big-endian, of HMAC-SHA-256 over service, NUL, subscriber, NUL, access; mobile has no access.

    0 means nobody, so a hash of 0 becomes 1.
    """
    digest = hmac.digest(key, _identity(service, subscriber, access), "sha256")
    return int.from_bytes(digest[:8], "big") or 1


def sub_ids(key: bytes, users: Iterable[tuple[str, str, str]]) -> NDArray[np.uint64]:
    """``sub_id`` of many (service, subscriber, access)."""
    return _hashed(key, (_identity(service, subscriber, access) for service, subscriber, access in users))


def key_check(key: bytes) -> str:
    """By which a store knows its key again: tells two keys apart, and of a key nothing."""
    return hmac.digest(key, _CHECKED, "sha256")[:8].hex()


def changed_ids(
    old_key: bytes, new_key: bytes, users: Sequence[tuple[str, str, str]], ids: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], int]:
    """What these ids (of the old key, distinct, ascending) are under the new key, and of how many nobody knows whose.

    Those are hashed under the new key, so that the old one says nothing of them any more; 0 stays 0.
    """
    new = np.zeros(len(ids), "u8")
    is_left = ids != 0
    old = sub_ids(old_key, users)
    if len(ids) and len(old):
        at = np.minimum(np.searchsorted(ids, old), len(ids) - 1)
        there = ids[at] == old
        chosen = np.flatnonzero(there).tolist()
        new[at[there]] = sub_ids(new_key, (users[each] for each in chosen))
        is_left[at[there]] = False
    unknown = ids[is_left]
    # A user's identity has two or three parts that are text, this one cannot be taken for it.
    new[is_left] = _hashed(new_key, (_UNKNOWN + number.to_bytes(8, "big") for number in unknown.tolist()))
    return new, len(unknown)


def load_or_make_key(path: Path) -> bytes:
    """The key in this file, made at the first call and readable by its owner only; KeyFileError when it is unfit.

    Keep a copy: with another key every subscriber gets another id.
    """
    if not path.exists():
        _make(path)
    return load_key(path)


def load_key(path: Path) -> bytes:
    """The key in this file; KeyFileError when it cannot be read or is unfit."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from None
    if len(key) < _LEAST_KEY_BYTES:
        raise KeyFileError(f"{path}: {len(key)} bytes are no key; restore it, or remove it to get a new one")
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"{path}: others can read it; run chmod 600 on it")
    return key


def replace_key(path: Path, key: bytes) -> None:
    """Put another key in the file's place: after a power cut it is the old one or the new one, whole."""
    _written_aside(path, key).replace(path)
    sync_folder(path.parent)


def _identity(service: str, subscriber: str, access: str) -> bytes:
    parts = (service, subscriber) if service == "mobile" else (service, subscriber, access)
    return "\0".join(parts).encode()


def _hashed(key: bytes, messages: Iterable[bytes]) -> NDArray[np.uint64]:
    # RFC 2104 section 2: the two padded keys are hashed once and copied: 1.6 s a million, hmac.digest takes 4.7.
    padded = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
    digests = bytearray()
    for message in messages:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        digests += second.digest()[:8]
    ids = np.frombuffer(bytes(digests), ">u8").astype("u8")
    ids[ids == 0] = 1
    return ids


def _make(path: Path) -> None:
    """Written whole under another name and then linked: a crash or a second process never leaves half a key."""
    draft = _written_aside(path, secrets.token_bytes(KEY_BYTES))
    try:
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _written_aside(path: Path, key: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return draft
