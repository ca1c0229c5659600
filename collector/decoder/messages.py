"""What a message says for all its records, as arrays over messages, and how it is spread over their rows."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.domains import Source
from collector.decoder.speeds import Table, speed_table
from collector.settings import TimeSettings

Array = NDArray[Any]
WIDTH = 5
"""Numbers a message leaves: source, export time and device uptime (v5, v9) in ms, received in Unix ms, flags."""


class Messages:
    """Messages of one group of datagrams; ``numbers`` (int64) has WIDTH for each."""

    def __init__(self, numbers: Array, sources: list[Source], bounds: TimeSettings) -> None:
        table = numbers.reshape(-1, WIDTH)
        self.source: Array = table[:, 0]  # index into sources
        self.export: Array = table[:, 1]
        self.uptime: Array = table[:, 2].astype("u4")
        self.received: Array = table[:, 3]
        self.flags: Array = table[:, 4].astype("u4")
        self.sources, self.bounds = sources, bounds
        codes: dict[str, int] = {}
        exporters = [codes.setdefault(source.domain.exporter.address, len(codes)) for source in sources]
        self.labels: tuple[str, ...] = tuple(codes) or ("",)
        self.exporter: Array = np.array(exporters, "u4")[self.source]
        self.domain: Array = np.array([source.domain.number for source in sources], "u4")[self.source]
        self.trusted: Array = np.array([source.domain.exporter.trusted for source in sources], bool)[self.source]
        self.init_ms: Array = np.array([source.init_ms for source in sources], "i8")[self.source]
        intervals = [source.interval for source in sources]
        self.interval: Array = np.array([interval for interval, _ in intervals], "u4")[self.source]
        self.interval_source: Array = np.array([said for _, said in intervals], "u1")[self.source]

    @cached_property
    def tells_interfaces(self) -> bool:
        """Whether any source has said intervals of its interfaces."""
        return any(facts.interfaces for source in self.sources for facts in source.all_facts)

    @cached_property
    def speeds(self) -> Table | None:
        """Speeds of the exporters' interfaces."""
        return speed_table(self.sources, self.labels)


class Runs:
    """Records in a row from the same message: how many, and from which."""

    __slots__ = ("counts", "messages", "rows", "starts")

    def __init__(self, counts: Array, messages: Array) -> None:
        self.counts, self.messages = counts, messages
        self.starts: Array = np.cumsum(counts) - counts
        self.rows = int(counts.sum())

    def spread(self, values: Array) -> Array:
        """A value a message -> one a row; a single one where all are the same."""
        mine = values[self.messages]
        if len(mine) and mine.dtype != bool and mine.min() == mine.max():
            return mine[:1]
        return np.repeat(mine, self.counts)

    def sums(self, rows: Array) -> Array:
        """How many rows of each run are true."""
        totals: Array = np.add.reduceat(rows.astype("i8"), self.starts)
        return totals
