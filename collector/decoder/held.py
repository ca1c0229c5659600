"""Data sets that came before their template, and wait for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from collector.decoder.domains import Domain
from collector.settings import DecoderSettings

_OVERHEAD = 256
"""Octets an entry takes beside its body, about; without it empty sets would be free."""


@dataclass(frozen=True, slots=True)
class HeldSet:
    """The body of a data set and what its message said."""

    body: bytes
    export_s: int
    uptime_ms: int
    received_ms: int
    flags: int

    @property
    def cost(self) -> int:
        """Octets of memory, about."""
        return len(self.body) + _OVERHEAD


class HeldSets:
    """Bounded by octets in all and of one exporter: when full the newest is refused, so that a flood of unknown
    templates cannot push out what waits already."""

    def __init__(self, settings: DecoderSettings) -> None:
        self._settings = settings
        self._waiting: dict[Domain, dict[int, list[HeldSet]]] = {}
        self.sets = 0
        self.octets = 0

    def put(self, domain: Domain, number: int, held: HeldSet) -> bool:
        """Keep it for template ``number``; False: no room."""
        settings = self._settings
        if self.octets + held.cost > settings.held_bytes:
            return False
        if domain.exporter.held_bytes + held.cost > settings.held_bytes_per_exporter:
            return False
        self._waiting.setdefault(domain, {}).setdefault(number, []).append(held)
        self._account(domain, held, 1)
        return True

    def release(self, domain: Domain, number: int) -> list[HeldSet]:
        """All that waited for this template, in order of arrival."""
        waiting = self._waiting.get(domain)
        if waiting is None or number not in waiting:
            return []
        released = waiting.pop(number)
        if not waiting:
            del self._waiting[domain]
        for held in released:
            self._account(domain, held, -1)
        return released

    def of(self, domain: Domain) -> Iterator[tuple[int, HeldSet]]:
        """What waits of a domain: number of the template, set."""
        for number, sets in self._waiting.get(domain, {}).items():
            for held in sets:
                yield number, held

    def drop(self, domain: Domain) -> int:
        """Give up all of a domain; how many sets."""
        return sum(len(self.release(domain, number)) for number in list(self._waiting.get(domain, ())))

    def expire(self, before_ms: int) -> Iterator[tuple[Domain, int]]:
        """Give up what was received earlier; how many sets of each domain."""
        for domain, waiting in list(self._waiting.items()):
            expired = 0
            for number, sets in list(waiting.items()):
                if sets[0].received_ms >= before_ms:
                    continue
                keep = [held for held in sets if held.received_ms >= before_ms]
                expired += len(sets) - len(keep)
                for held in sets:
                    if held.received_ms < before_ms:
                        self._account(domain, held, -1)
                if keep:
                    waiting[number] = keep
                else:
                    del waiting[number]
            if not waiting:
                del self._waiting[domain]
            if expired:
                yield domain, expired

    def _account(self, domain: Domain, held: HeldSet, sign: int) -> None:
        self.sets += sign
        self.octets += sign * held.cost
        domain.exporter.held_bytes += sign * held.cost
