"""Exporters with many templates each: NetFlow v9 of twelve layouts, to see what small groups cost."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.encoder import Field, MessageEncoder, Template, data_set, template_set
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.sender import Ring
from flowtide.simulator.templates import flow_columns

LAYOUTS = 12
TEMPLATES = 20
"""Of each exporter; several have the same layout under different ids, as line cards do."""

_UPTIME_MS = 86_400_000
_BASE: tuple[Field, ...] = (
    (8, 4), (12, 4), (10, 4), (14, 4), (7, 2), (11, 2), (4, 1), (6, 1), (2, 4), (1, 4), (22, 4), (21, 4),
)  # fmt: skip
# Information elements by IANA's registry: next hop, prefix lengths, VLAN, least and largest time to live.
_ADDED: tuple[tuple[Field, ...], ...] = (((15, 4),), ((9, 1), (13, 1)), ((58, 2), (5, 1)), ((52, 1), (53, 1)))


class ManyTemplates(Ring):
    """One such exporter; datagrams of one set each, every template in its turn."""

    def __init__(
        self, plan: ExporterPlan, to: tuple[str, int], flows: NDArray[np.void], records: int, now: float, *,
        allow_remote: bool = False,
    ) -> None:  # fmt: skip
        """As ``LineRate``."""
        now_ms = int(now * 1000)
        self._encoder = MessageEncoder(9, plan.domains[0], (now_ms - _UPTIME_MS) // 1000 * 1000)
        self._templates = [Template(256 + at, layout(at % LAYOUTS)) for at in range(TEMPLATES)]
        parts = [flows[at : at + records] for at in range(0, len(flows) - records + 1, records)]
        built = [self._datagram(at, part, now_ms) for at, part in enumerate(parts)]
        known = {each.template_id: each for each in self._templates}
        super().__init__(plan.source, to, built, parts, "netflow9", known, now_ms // 1000, allow_remote=allow_remote)

    def announce(self, now: float) -> None:
        """Send all templates."""
        self._encoder.sequence = self.sequence
        half = len(self._templates) // 2
        for part in (self._templates[:half], self._templates[half:]):  # a datagram has not room for all
            self.tell([self._encoder.message([template_set(9, part)], int(now * 1000))])
        self.sequence = self._encoder.sequence

    def _datagram(self, at: int, part: NDArray[np.void], now_ms: int) -> bytes:
        template = self._templates[at % TEMPLATES]
        columns = flow_columns(self._encoder, part)
        return self._encoder.message([data_set(template, template.records(len(part), columns))], now_ms)


def layout(number: int) -> tuple[Field, ...]:
    """Fields of one of the layouts, in an order of its own."""
    fields: Sequence[Field] = [
        *_BASE,
        *(field for bit, added in enumerate(_ADDED) if number >> bit & 1 for field in added),
    ]
    return (*fields[number:], *fields[:number])
