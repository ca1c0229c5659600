"""Elements chosen by setting -> column ``extra``: a JSON object a row, values by name as text.

A choice is ``NAME`` of IANA's registry or ``NAME=PEN/ELEMENT [TYPE]``; PEN 0 is IANA's, TYPE one of IANA's types.
Without a type, octets of variable length are text, up to 8 octets an unsigned integer, all else hexadecimal.
"""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from collector.decoder.elements import REVERSE_PEN, VARIABLE
from collector.decoder.filling import Columns, settle
from collector.decoder.layouts import Layout, Place
from collector.decoder.records import Rows
from collector.decoder.registry import by_name, elements

Array = NDArray[Any]

EMPTY = "{}"
_LONGEST = 255
"""Octets of a value; what is behind them is cut off."""
_DISTINCT = 4_096
"""Texts of one batch: a label column is for few values, and each is made in Python (about 5 us)."""
_CHOICE = re.compile(r"([\w:.-]{1,64})(?:=(\d+)/(\d+)(?: (\w+))?)?")
_FLOATS = {4: "!f", 8: "!d"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One element and the name it gets; ``type`` empty: by its length."""

    name: str
    element: int
    pen: int
    type: str


def parse(text: str) -> Choice:
    """A choice as written in the settings; ValueError says what is wrong with it."""
    match = _CHOICE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither an element's name nor NAME=PEN/ELEMENT [TYPE]")
    name, pen, number, kind = match.groups()
    if number is None:
        known = by_name().get(name.lower())
        if known is None:
            raise ValueError(f"IANA has no element {name!r}; write {name}=PEN/ELEMENT for one of an enterprise")
        return Choice(known.name, known.number, 0, known.type)
    if int(pen) >= 2**32 or not 0 < int(number) < 2**15:
        raise ValueError(f"{text!r}: a PEN has 32 bits, an element 15")
    types = {each.type for each in elements().values()}
    if kind is not None and kind not in types:
        raise ValueError(f"{kind!r} is no type of an element: {', '.join(sorted(types))}")
    if int(pen) in (0, REVERSE_PEN) and kind is None:
        iana = elements().get(int(number))
        kind = iana.type if iana else None
    return Choice(name, int(number), int(pen), kind or "")


class Extras:
    """The chosen elements of one decoder."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        """Settings as written; ValueError as in ``parse``."""
        self.choices = tuple(parse(choice) for choice in choices)
        self._wanted = {(choice.element, choice.pen): choice for choice in self.choices}
        self._places: WeakKeyDictionary[Layout, list[tuple[Place, Choice]]] = WeakKeyDictionary()

    def begin(self) -> "ExtraLabels":
        """The labels of a new batch."""
        return ExtraLabels()

    def fill(self, layout: Layout, rows_of: Callable[[], Rows], labels: "ExtraLabels", columns: Columns) -> int:
        """Codes of each row's label into column ``extra``; how many rows found the batch's labels full."""
        places = self._of(layout) if self._wanted else []
        if not places or not len(columns["extra"]):
            settle(columns, "extra")
            return 0
        rows = rows_of()
        combined: Array = np.zeros(rows.count, "i8")
        firsts: Array = combined[:1]
        texts: list[list[str]] = []
        of_code: list[Array] = []
        for place, choice in places:
            codes, of_value, values = _distinct(rows, place)
            if not texts:
                firsts, combined = of_value, codes
            else:
                # Numbered anew at each step, so that the product of two numbers of values cannot grow too large.
                _, firsts, combined = np.unique(combined * len(values) + codes, return_index=True, return_inverse=True)
                combined = combined.reshape(-1)
            texts.append([_text(value, choice.type, layout.fields[place].length) for value in values])
            of_code.append(codes)
        numbers = np.zeros(len(firsts), "u4")
        refused = np.zeros(len(firsts), bool)
        for index, row in enumerate(firsts.tolist()):
            said = {
                choice.name: text
                for (_, choice), codes, known in zip(places, of_code, texts, strict=True)
                if (text := known[int(codes[row])])
            }
            number = labels.number(json.dumps(said, ensure_ascii=False, separators=(",", ":")))
            if number is None:
                refused[index] = True
            else:
                numbers[index] = number
        columns["extra"][:] = numbers[combined]
        return int(refused[combined].sum()) if refused.any() else 0

    def _of(self, layout: Layout) -> list[tuple[Place, Choice]]:
        places = self._places.get(layout)
        if places is None:
            found: dict[tuple[int, int], Place] = {}
            for place, each in enumerate(layout.fields):
                if each.length and (each.element, each.pen) in self._wanted:
                    found.setdefault((each.element, each.pen), place)
            places = self._places[layout] = [(place, self._wanted[key]) for key, place in found.items()]
        return places


class ExtraLabels:
    """Distinct texts of one batch, bounded; the first is the empty one."""

    def __init__(self) -> None:
        self._numbers = {EMPTY: 0}

    @property
    def labels(self) -> tuple[str, ...]:
        """By code."""
        return tuple(self._numbers)

    def number(self, text: str) -> int | None:
        """The text's code; None: there are too many."""
        number = self._numbers.get(text)
        if number is None and len(self._numbers) < _DISTINCT:
            number = self._numbers[text] = len(self._numbers)
        return number


def _distinct(rows: Rows, place: Place) -> tuple[Array, Array, list[bytes]]:
    """By row which of the field's distinct values it has, the first row of each, and the values."""
    buffer, starts, lengths = rows.spans(place)
    used = np.minimum(lengths, _LONGEST)
    width = int(used.max(initial=0))
    at = starts[:, None] + np.arange(width)
    octets = buffer[np.minimum(at, len(buffer) - 1)]
    octets[np.arange(width) >= used[:, None]] = 0
    # The length stands before the octets, so that zeros at the end of a value count.
    keys = np.concatenate([used.astype("u1")[:, None], octets], axis=1)
    firsts, codes = _same(keys)
    return codes, firsts, [value[1 : 1 + value[0]] for value in (each.tobytes() for each in keys[firsts])]


def _same(keys: Array) -> tuple[Array, Array]:
    """Of the rows of octets (uint8, rows x width): where each distinct one is first, and by row which it is."""
    # Sums are sorted faster than octets (2.9 against 4.8 ms for 16 k values of 20); that equal sums are of equal octets
    # is looked up, not believed.
    _, firsts, codes = np.unique(keys.astype("u8") @ _weights(keys.shape[1]), return_index=True, return_inverse=True)
    codes = codes.reshape(-1)
    if not np.array_equal(keys[firsts][codes], keys):
        whole = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").reshape(-1)
        _, firsts, codes = np.unique(whole, return_index=True, return_inverse=True)
    return firsts, codes.reshape(-1)


def _weights(width: int) -> Array:
    return np.random.default_rng(1).integers(1, 2**63, width, "u8")


def _text(value: bytes, kind: str, length: int) -> str:
    """A value as text; without octets it is empty, and is left out."""
    if not value:
        return ""
    if kind.startswith(("unsigned", "dateTime")) and len(value) <= 8:
        return str(int.from_bytes(value, "big"))
    if kind.startswith("signed") and len(value) <= 8:
        return str(int.from_bytes(value, "big", signed=True))
    if kind.startswith("float") and len(value) in _FLOATS:
        return repr(struct.unpack(_FLOATS[len(value)], value)[0])
    if kind.startswith("ipv") and len(value) in (4, 16):
        return str(ip_address(value))
    if kind == "macAddress" and len(value) == 6:
        return value.hex(":")
    if kind == "boolean" and len(value) == 1:
        return {1: "true", 2: "false"}.get(value[0], str(value[0]))  # RFC 7011 section 6.1.5
    if kind == "string" or (not kind and length == VARIABLE):
        # Fixed lengths are filled up with zeros.
        return value.rstrip(b"\0").decode("utf-8", "replace").replace("\0", "\ufffd")
    if not kind and len(value) <= 8:
        return str(int.from_bytes(value, "big"))
    return value.hex()
