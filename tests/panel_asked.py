"""What is asked of a panel, in the words of the reference."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.known_flows import Row


@dataclass(frozen=True)
class Asked:
    """A time range in Unix seconds, the width of its buckets, and what was chosen; an empty choice is All."""

    since: int
    until: int
    step: int
    chosen: Mapping[str, tuple[str, ...]]
    now: int

    @property
    def begin(self) -> int:
        """The bucket that the range begins in."""
        return self.since // self.step * self.step

    @property
    def end(self) -> int:
        """Behind the bucket that the range ends in; all known flows are old, so no bucket is open."""
        return -(-self.until // self.step) * self.step

    def takes(self, row: Row, *names: str) -> bool:
        return all(str(row[name]) in self.chosen.get(name, (str(row[name]),)) for name in names)

    def buckets(self) -> range:
        return range(self.begin, self.end, self.step)
