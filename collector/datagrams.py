"""What the receiver hands to the decoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
NAME_OCTETS = 28
"""Of a sender's address as the kernel writes it: struct sockaddr_in6, the longest a UDP socket gives."""


@dataclass(slots=True)
class Slots:
    """Datagrams of one read where the kernel put them: at equal distances in one piece of memory."""

    memory: NDArray[np.uint8]  # with room for one more behind the last
    stride: int
    lengths: NDArray[np.int64]  # one a datagram, its octets that are in its slot
    names: NDArray[np.uint8]  # (datagrams, NAME_OCTETS): struct sockaddr_in or _in6, zeros for the port
    address_of: Callable[[bytes], str]  # of a name
    cut: NDArray[np.bool_] | None = None  # datagrams longer than their slot; None: none

    def __len__(self) -> int:
        return len(self.lengths)

    def exporter(self, index: int) -> str:
        """Who sent a datagram."""
        return self.address_of(self.names[index].tobytes())

    def payload(self, index: int) -> memoryview:
        """A datagram's octets, in place."""
        start = index * self.stride
        return self.memory[start : start + int(self.lengths[index])].data


@dataclass(slots=True)
class Datagrams:
    """Datagrams of one read, as parallel sequences in order of arrival.

    ``payloads`` may be views into memory that the receiver uses again: they are valid until the call they were given
    to returns.
    """

    exporters: Sequence[str]  # source addresses, normalised (::ffff:192.0.2.1 is 192.0.2.1)
    payloads: Sequence[memoryview]
    received_ms: int  # Unix milliseconds, UTC, of the read
    truncated: frozenset[int] = field(default_factory=frozenset)  # indexes of datagrams longer than their slot
    slots: Slots | None = None  # the same datagrams, to be read all at once

    @staticmethod
    def of(slots: Slots, received_ms: int) -> "Datagrams":
        """Those of a slab; an address or a view is made when it is asked for."""
        cut = frozenset(np.flatnonzero(slots.cut).tolist()) if slots.cut is not None else frozenset[int]()
        exporters = _Made(slots.exporter, len(slots))
        return Datagrams(exporters, _Made(slots.payload, len(slots)), received_ms, cut, slots)

    def __len__(self) -> int:
        return len(self.payloads)


class _Made(Sequence[Item]):
    """A sequence whose items are made when they are asked for."""

    def __init__(self, make: Callable[[int], Item], count: int) -> None:
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(each) for each in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._make(index % self._count)
