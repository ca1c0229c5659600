"""Makes inputs out of inputs: knows where lengths, ids and numbers of flow export sit, and sets them wrong.

Guided a little: an input that made the decoder count something in a new combination joins the pool.
"""

import random

Message = tuple[int, bytes]

_INTERESTING = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 20, 23, 24, 127, 128, 254, 255, 256, 257, 1023, 1400, 32_767, 32_768,
                65_534, 65_535)  # fmt: skip
_IDS = (0, 1, 2, 3, 4, 128, 255, 256, 257, 300, 65_535)
_ELEMENTS = (
    1, 2, 4, 5, 6, 7, 8, 10, 12, 14, 15, 21, 22, 23, 27, 28, 32, 34, 48, 50, 58, 60, 82, 83, 85, 94, 95, 96, 104,
    149, 150, 152, 153, 154, 156, 158, 160, 231, 232, 236, 291, 292, 293, 298, 302, 304, 305, 306, 309, 310,
    312, 313, 315, 322, 323, 40_000,
)  # fmt: skip
_LENGTHS = (0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 255, 65_535)
_LARGEST = 9_000
"""Octets of a datagram, as the receiver's slots."""
_POOL = 400
"""Inputs kept; beyond, a random one makes room."""


class Mutator:
    """Gives inputs without end; the same seed gives the same ones."""

    def __init__(self, chance: random.Random, seeds: list[list[Message]]) -> None:
        self._chance = chance
        self._pool = [each for each in seeds if each] or [[(8, b"\0\x09")]]
        self._seen: set[frozenset[str]] = set()
        self._changes = (
            self._bit, self._number, self._wide, self._insert, self._remove, self._repeat, self._cut, self._template,
            self._set_header, self._swap,
        )  # fmt: skip

    def next(self) -> list[Message]:
        """An input: some datagrams of the pool, changed in some places."""
        chance = self._chance
        messages = list(chance.choice(self._pool))
        if chance.random() < 0.5:  # state of one meets data of another
            messages += chance.choice(self._pool)
        if chance.random() < 0.1:
            chance.shuffle(messages)
        messages = messages[:12]
        for _ in range(chance.choice((1, 1, 2, 3, 5, 10))):
            at = chance.randrange(len(messages))
            head, payload = messages[at]
            if chance.random() < 0.1:
                head = chance.randrange(256)
            changed = chance.choice(self._changes)(bytearray(payload))
            messages[at] = head, bytes(changed[:_LARGEST])
        return messages

    def learn(self, messages: list[Message], counters: frozenset[str]) -> None:
        """Keep what made a new combination of counters."""
        if counters in self._seen:
            return
        self._seen.add(counters)
        if len(self._pool) >= _POOL:
            self._pool.pop(self._chance.randrange(len(self._pool)))
        self._pool.append(messages)

    def _at(self, payload: bytearray, width: int = 1) -> int:
        """A place, more often one where a field of two octets begins."""
        last = max(0, len(payload) - width)
        at = self._chance.randint(0, last)
        return at & ~1 if self._chance.random() < 0.7 else at

    def _bit(self, payload: bytearray) -> bytearray:
        if payload:
            payload[self._at(payload)] ^= 1 << self._chance.randrange(8)
        return payload

    def _number(self, payload: bytearray) -> bytearray:
        at = self._at(payload, 2)
        payload[at : at + 2] = self._chance.choice(_INTERESTING).to_bytes(2, "big")
        return payload

    def _wide(self, payload: bytearray) -> bytearray:
        at = self._at(payload, 4)
        value = self._chance.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, self._chance.randrange(2**32)))
        payload[at : at + 4] = value.to_bytes(4, "big")
        return payload

    def _insert(self, payload: bytearray) -> bytearray:
        at = self._at(payload)
        payload[at:at] = self._chance.randbytes(self._chance.choice((1, 2, 4, 8, 20)))
        return payload

    def _remove(self, payload: bytearray) -> bytearray:
        at = self._at(payload)
        del payload[at : at + self._chance.choice((1, 2, 4, 8, 20))]
        return payload

    def _repeat(self, payload: bytearray) -> bytearray:
        at = self._at(payload)
        piece = payload[at : at + self._chance.choice((4, 8, 16, 64))]
        payload[at:at] = piece * self._chance.choice((1, 2, 10, 50))
        return payload

    def _cut(self, payload: bytearray) -> bytearray:
        return payload[: self._at(payload)]

    def _swap(self, payload: bytearray) -> bytearray:
        """The version becomes another."""
        version = self._chance.choice((b"\0\x05", b"\0\x09", b"\0\x0a", b"\0\0\0\x05"))
        payload[: len(version)] = version
        return payload

    def _set_header(self, payload: bytearray) -> bytearray:
        """An id and a length where a set may begin."""
        at = self._at(payload, 4)
        length = self._chance.choice((*_INTERESTING, len(payload) - at))
        payload[at : at + 4] = self._chance.choice(_IDS).to_bytes(2, "big") + (length & 0xFFFF).to_bytes(2, "big")
        return payload

    def _template(self, payload: bytearray) -> bytearray:
        """A template of elements that matter, each at any length, and data by it, in place of what was there."""
        chance = self._chance
        body = b""
        count = chance.choice((1, 2, 3, 8, 30))
        for _ in range(count):
            pen = chance.random() < 0.1
            body += (chance.choice(_ELEMENTS) | 0x8000 * pen).to_bytes(2, "big")
            body += chance.choice(_LENGTHS).to_bytes(2, "big")
            body += (29_305).to_bytes(4, "big") if pen else b""
        number = chance.choice((256, 257, 300)).to_bytes(2, "big")
        header = {0x00: 20, 0x0A: 16}.get(payload[1] if len(payload) > 1 else 0, 20)
        kind = (2 if header == 16 else 0) + (chance.random() < 0.2)
        scopes = b"" if kind in (0, 2) else chance.choice((0, 1, 2, 4, 8)).to_bytes(2, "big")
        sets = kind.to_bytes(2, "big") + (len(body) + len(scopes) + 8).to_bytes(2, "big")
        sets += number + count.to_bytes(2, "big") + scopes + body
        data = chance.randbytes(chance.choice((0, 1, 4, 40, 400)))
        sets += number + (len(data) + 4).to_bytes(2, "big") + data
        return payload[:header] + sets
