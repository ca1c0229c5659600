"""What was collected of one slot since its last batch: messages, who sent them, and records by layout.

Numbers lie in arrays of int64 to which both ways of the walk add: datagram by datagram, or a slab at once.
"""

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.layouts import Layout

if TYPE_CHECKING:
    from collector.decoder.domains import Domain, Source

Array = NDArray[Any]

_LEAST_OCTETS = 4_096  # a page
_MOST_OCTETS = 1 << 24  # laid out for a group before its records come


class Group:
    """Records of one layout that wait to become columns: their octets, joined, and the runs they came in."""

    __slots__ = ("begins", "body", "layout", "runs", "used", "view")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        # As large as the last one needed: growing copies what is there.
        self.body: Array = np.empty(min(max(layout.usual_octets, _LEAST_OCTETS), _MOST_OCTETS), "u1")
        self.view = self.body.data
        self.used = 0  # octets
        self.runs = array("q")  # number of records, index of the message; again and again
        self.begins = array("q")  # of each record in ``body``, where the layout is variable

    def reserve(self, octets: int) -> int:
        """Make room for so many octets in ``body``; where they go."""
        at = self.used
        self.used = end = at + octets
        if end > len(self.body):
            grown: Array = np.empty(max(end, 2 * len(self.body)), "u1")
            grown[:at] = self.body[:at]
            self.body, self.view = grown, grown.data
        return at

    def add(self, octets: bytes | memoryview, records: int, message: int, ends: list[int]) -> None:
        """Take a set's whole records; ``ends``: of each of them in ``octets``, where the layout is variable."""
        at = self.reserve(len(octets))
        self.view[at : self.used] = octets
        self.runs.extend((records, message))
        if ends:
            self.begins.append(at)
            self.begins.extend([at + end for end in ends[:-1]])


class Collected:
    """One slot's share; all its exporters are of this slot."""

    __slots__ = ("groups", "numbers", "rows", "sources")

    def __init__(self) -> None:
        self.groups: dict[Layout, Group] = {}
        self.numbers = array("q")  # of messages: see messages.WIDTH
        self.sources: list[Source] = []
        self.rows = 0

    def group(self, layout: Layout) -> Group:
        """The group of a layout."""
        group = self.groups.get(layout)
        if group is None:
            group = self.groups[layout] = Group(layout)
        return group

    def source(self, domain: "Domain") -> int:
        """The domain's index among the sources."""
        if domain.source < 0:
            domain.source = len(self.sources)
            self.sources.append(domain.now())
        return domain.source

    def drain(self) -> tuple[list[Group], Array, "list[Source]"]:
        """Hand over what was collected and begin anew."""
        drained = list(self.groups.values()), np.frombuffer(self.numbers, "i8"), self.sources
        for group in drained[0]:
            group.layout.usual_octets = group.used
        for source in self.sources:
            source.domain.source = -1
        self.groups, self.numbers, self.sources, self.rows = {}, array("q"), [], 0
        return drained
