"""What the receiver hands to the decoder."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Datagrams:
    """Datagrams of one read, as parallel lists in order of arrival.

    ``payloads`` may be views into memory that the receiver uses again: they are valid until the call they were given
    to returns.
    """

    exporters: Sequence[str]  # source addresses, normalised (::ffff:192.0.2.1 is 192.0.2.1)
    payloads: Sequence[memoryview]
    received_ms: int  # Unix milliseconds, UTC, of the read
    truncated: frozenset[int] = field(default_factory=frozenset)  # indexes of datagrams longer than their slot

    def __len__(self) -> int:
        return len(self.payloads)
