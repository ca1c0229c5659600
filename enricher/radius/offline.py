"""Sessions of a listener that does not run: whom they name, and a subscriber taken out of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enricher.radius.journal import Journal
from enricher.radius.restoring import restore, slices
from enricher.radius.sessions import Sessions
from enricher.radius.settings import RadiusSettings


@dataclass(frozen=True, slots=True)
class Named:
    """What of a subscriber there is."""

    sessions: int
    days: int  # of octets, of sessions that are forgotten


def users_of(settings: RadiusSettings, folder: Path, zone: str) -> set[tuple[str, str, str]]:
    """Service, subscriber and access of everybody in the journal."""
    if not folder.is_dir():
        return set()
    sessions = Sessions(settings, zone)
    restore(Journal(folder), sessions)
    found = {(each.labels[0], each.subscriber, each.labels[2]) for each in sessions.all() if each.subscriber}
    return found | {(service, name, access) for _, (name, service, _, access) in sessions.sums().octets}


def erase(settings: RadiusSettings, folder: Path, zone: str, subscriber: str, *, dry_run: bool = False) -> Named:
    """Take a name and its octets out of the journal, for good; nothing may listen.

    Its sessions stay without a name: else who had their addresses before might be taken to have them again.
    """
    if not folder.is_dir():
        return Named(0, 0)
    sessions, journal = Sessions(settings, zone), Journal(folder)
    restore(journal, sessions)
    mine = [each for each in sessions.all() if subscriber in (each.subscriber, each.user)]
    days = sum(1 for _, user in sessions.sums().octets if user[0] == subscriber)
    if not dry_run and (mine or days):
        for session in mine:
            if session.subscriber == subscriber:
                session.subscriber = ""
                if session.counters.points:
                    session.counters.cut()  # what follows counts from here on, for whomever it names
            if session.user == subscriber:
                session.user = ""
        journal.snapshot(journal.rotate(), _saved(sessions, subscriber))
        journal.close()
    return Named(sum(1 for each in mine if dry_run or not each.subscriber), days)


def _saved(sessions: Sessions, but: str) -> Iterator[bytes]:
    state = sessions.state()
    state["octets"] = [each for each in state["octets"] if each[1][0] != but]
    yield json.dumps(state).encode()
    for some in slices(list(sessions.all())):
        yield json.dumps([session.saved() for session in some]).encode()
