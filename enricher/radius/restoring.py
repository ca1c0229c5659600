"""Sessions as the journal has them: what a start restores, and what is read while nothing listens."""

import json
import struct
from collections.abc import Iterator, Sequence

import structlog

from enricher.radius.journal import Journal
from enricher.radius.packet import PacketError, parse
from enricher.radius.session import Session
from enricher.radius.sessions import Sessions

log = structlog.get_logger("enricher.radius")

HEAD = struct.Struct("<qB")
"""Of a journal record: arrival (Unix milliseconds), length of the source's address."""
_SLICE = 500  # sessions that are read at a time, so that requests need not wait for all of them


def restore(journal: Journal, sessions: Sessions) -> int:
    """Take the snapshot, then all that was accepted since; when the newest record arrived, Unix milliseconds."""
    heard_ms, is_first = 0, True
    for is_saved, record in journal.read():
        if is_saved and is_first:
            sessions.restore(json.loads(record))
        elif is_saved:
            for saved in json.loads(record):
                session = Session.restored(saved)
                sessions.insert(session)
                heard_ms = max(heard_ms, session.heard_ms)
        else:
            heard_ms = max(heard_ms, _replay(record, sessions))
        is_first = False
    sessions.sweep(heard_ms)
    return heard_ms


def slices(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    """All of them, some at a time."""
    return (sessions[at : at + _SLICE] for at in range(0, len(sessions), _SLICE))


def _replay(record: bytes, sessions: Sessions) -> int:
    arrived_ms, length = HEAD.unpack_from(record)
    source = record[HEAD.size : HEAD.size + length].decode()
    try:
        sessions.apply(parse(record[HEAD.size + length :], source), arrived_ms)
    except PacketError as error:  # of an older version that took what we refuse
        log.warning("journal record left out", reason=error.reason)
    return int(arrived_ms)
