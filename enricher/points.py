"""Observation points: at which exporters a service is counted, where edge and core both export the same flow.

Rows of a service that other exporters see stay in raw and in the figures of exporters and interfaces; they are flagged
OTHER_POINT, and every rollup of services leaves them out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import numpy as np
from numpy.typing import NDArray

from sinks.batch import Batch
from sinks.schema import Flag

OTHERS = "*"
"""The rule of services that are not named; '' is the service of flows without a subscriber."""

Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class ObservationPoints:
    """Exporter prefixes by service; a service without a rule is counted everywhere."""

    rules: Mapping[str, Networks]
    _known: dict[tuple[str, str], bool] = field(default_factory=dict, compare=False)

    @staticmethod
    def of(rules: Mapping[str, Sequence[str]]) -> "ObservationPoints":
        """ValueError for what is no prefix or address, or a rule by which a service is counted nowhere."""
        for service, prefixes in rules.items():
            if not prefixes:
                raise ValueError(f"observation point of {service!r}: name at least one exporter, or leave the rule out")
        return ObservationPoints(
            {service: tuple(ip_network(prefix) for prefix in prefixes) for service, prefixes in rules.items()}
        )

    def flags(self, batch: Batch) -> NDArray[np.uint32]:
        """OTHER_POINT by row, from its columns ``exporter`` and ``service``."""
        exporters, services = batch.labels["exporter"], batch.labels["service"]
        # A few labels each: the rule is asked once a pair, not once a row.
        table = np.array(
            [[self._is_other(exporter, service) for service in services] for exporter in exporters], bool
        ) * np.uint32(Flag.OTHER_POINT)  # fmt: skip
        found: NDArray[np.uint32] = table[batch.columns["exporter"], batch.columns["service"]]
        return found

    def _is_other(self, exporter: str, service: str) -> bool:
        pair = (exporter, service)
        if pair not in self._known:
            if len(self._known) > _PAIRS:
                self._known.clear()
            self._known[pair] = self._look_up(exporter, service)
        return self._known[pair]

    def _look_up(self, exporter: str, service: str) -> bool:
        rule = self.rules.get(service, self.rules.get(OTHERS))
        if rule is None:
            return False
        try:
            address = ip_address(exporter)
        except ValueError:
            return True  # nobody's address is in no prefix
        return not any(address in network for network in rule)


_PAIRS = 100_000
"""Bound of what is remembered: 20,000 exporters of five services, a few MB."""
