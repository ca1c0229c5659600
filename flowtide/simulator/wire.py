"""One observation domain of one exporter: flows become datagrams of its protocol."""

from bisect import bisect_right
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.encoder import MOST_OCTETS, SET_HEADER_OCTETS, MessageEncoder, Version, header_octets
from flowtide.simulator.netflow5 import Netflow5
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.sflow5 import Sflow5
from flowtide.simulator.templates import (
    Form,
    Templates,
    announcements,
    conversations,
    flow_records,
    interface_names,
    record_octets,
)

AS_PLANNED: Literal["as planned"] = "as planned"

_HALF_UPTIME = 2**31  # ms: a time farther from the export than this is taken for one of another turn of the uptime
_MOST_MS = 2**32 * 1000  # headers have 32 bits for Unix seconds
_VERSIONS: dict[str, Version] = {"netflow9": 9, "ipfix": 10}


class _Encoder(Protocol):
    @property
    def sequence(self) -> int: ...
    @sequence.setter
    def sequence(self, sequence: int) -> None: ...
    def tell(self, sampling: int | None) -> None: ...
    def announcements(self, export_ms: int) -> list[bytes]: ...
    def cuts(self, flows: NDArray[np.void]) -> tuple[list[int], list[int]]: ...
    def datagrams(self, flows: NDArray[np.void], export_ms: int) -> list[bytes]: ...


class Wire:
    """Writes one domain's datagrams; flows as they are exported, in order, each datagram as full as it goes.

    Of IPFIX with the form biflow two neighbouring flows that are each other's reverse (``templates.conversations``)
    become one record.  Interfaces, AS numbers and type of service are then those of the first.
    """

    def __init__(self, plan: ExporterPlan, domain: int, boot_ms: int) -> None:
        """``boot_ms``: Unix milliseconds at which its uptime was 0, taken to the whole second before."""
        self.plan, self.domain = plan, domain
        self._restarts = 0
        self._sampling = _told(plan.told_sampling)
        self._boot(boot_ms)

    @classmethod
    def of(cls, plan: ExporterPlan, domain: int, boot_ms: int) -> "Wire":
        """Of an exporter and one of its domains; ValueError: its protocol cannot say what is planned."""
        return cls(plan, domain, boot_ms)

    @property
    def sequence(self) -> int:
        """Number that the next datagram has; may be set."""
        return self._encoder.sequence

    @sequence.setter
    def sequence(self, sequence: int) -> None:
        self._encoder.sequence = sequence % 2**32

    def announcements(
        self, export_ms: int, *, sampling: int | Literal["as planned"] | None = AS_PLANNED
    ) -> list[bytes]:
        """Templates, sampling interval (None: nothing is said of it) and names of the interfaces.

        NetFlow v5 and sFlow tell the interval with their flows: from now on this one.  sFlow announces counters.
        """
        told = self.plan.told_sampling if sampling == AS_PLANNED else sampling
        self._encoder.tell(_told(told))
        self._sampling = told
        return self._encoder.announcements(export_ms)

    def datagrams(self, flows: NDArray[np.void], export_ms: int) -> list[bytes]:
        """Flows (dtype ``flow.FLOW``) exported at Unix milliseconds ``export_ms``.

        ValueError: the version has no room for a number, or a time is before the boot or too far from the export.
        """
        if not len(flows):
            return []
        self._check(flows, export_ms)
        return self._encoder.datagrams(flows, export_ms)

    def records(self, flows: NDArray[np.void]) -> list[int]:
        """How many records each of the datagrams of these flows has; of a biflow one for both directions."""
        return np.diff(self._encoder.cuts(flows)[1]).tolist()

    def rows(self, flows: NDArray[np.void]) -> list[int]:
        """How many of these flows, in their order, are in each of their datagrams."""
        return np.diff(self._encoder.cuts(flows)[0]).tolist()

    def restart(self, boot_ms: int) -> None:
        """The exporter boots: numbers begin anew, and its templates have other ids."""
        self._restarts += 1
        self._boot(boot_ms)

    def _boot(self, boot_ms: int) -> None:
        # v9's header says the whole second only: with a boot within it the uptime would be below 0 at once.
        self._boot_ms = boot_ms - boot_ms % 1000
        self._encoder = self._made()

    def _made(self) -> _Encoder:
        plan, domain, boot_ms = self.plan, self.domain, self._boot_ms
        if not 0 <= domain < 2**32:
            raise ValueError(f"domain {domain}: there are 32 bits for it")
        if plan.protocol == "netflow5":
            return Netflow5(domain, boot_ms, self._sampling)
        if plan.protocol == "sflow":
            return Sflow5(plan.source, domain, boot_ms, self._sampling, plan.sampling)
        return _Templated(_VERSIONS[plan.protocol], plan.form, domain, boot_ms, self._sampling, self._restarts)

    def _check(self, flows: NDArray[np.void], export_ms: int) -> None:
        protocol, start, end = self.plan.protocol, flows["start_ms"], flows["end_ms"]
        most = 2**32 - 1 if protocol in ("netflow5", "netflow9") else 2**63 - 1
        for name in ("packets", "octets"):
            least, largest = int(flows[name].min()), int(flows[name].max())
            if least < 0 or largest > most:
                raise ValueError(f"{name} {least if least < 0 else largest}: {protocol} tells 0 to {most}")
        if not self._boot_ms <= export_ms < _MOST_MS:
            raise ValueError(
                f"export at {export_ms} ms: before the boot at {self._boot_ms}, or past 32 bits of seconds"
            )
        if protocol == "sflow":
            return  # samples have no time of their own
        if (start > end).any():
            raise ValueError("a flow ends before it starts")
        if protocol == "ipfix":
            if start.min() < 0:
                raise ValueError(f"start {start.min()} ms: IPFIX has no time before 1970")
        elif start.min() < max(self._boot_ms, export_ms - _HALF_UPTIME) or end.max() > export_ms + _HALF_UPTIME:
            raise ValueError(
                f"times {start.min()} to {end.max()} ms: {protocol} counts them from the boot at {self._boot_ms} ms, "
                f"at most {_HALF_UPTIME} ms from the export at {export_ms} ms"
            )


def _told(sampling: int | None) -> int | None:
    if sampling is not None and not 0 <= sampling < 2**32:
        raise ValueError(f"sampling interval {sampling}: there are 32 bits for it")
    return sampling


class _Templated:
    """NetFlow v9 and IPFIX."""

    def __init__(
        self, version: Version, form: Form, domain: int, boot_ms: int, sampling: int | None, restarts: int
    ) -> None:
        self._messages = MessageEncoder(version, domain, boot_ms)
        self._templates = Templates.of(version, form, restarts)
        self._room = MOST_OCTETS - header_octets(version)
        self._sampling = sampling

    @property
    def sequence(self) -> int:
        return self._messages.sequence

    @sequence.setter
    def sequence(self, sequence: int) -> None:
        self._messages.sequence = sequence

    def tell(self, sampling: int | None) -> None:
        self._sampling = sampling

    def announcements(self, export_ms: int) -> list[bytes]:
        templates = self._templates
        sets = announcements(self._messages, self._sampling, templates)
        names = interface_names(self._messages.version, templates)
        return [self._messages.message([*sets, *names], export_ms)]

    def cuts(self, flows: NDArray[np.void]) -> tuple[list[int], list[int]]:
        first, _ = self._firsts(flows)
        bounds = self._bounds(flows if len(first) == len(flows) else flows[first])
        return np.append(first, len(flows))[bounds].tolist(), bounds

    def datagrams(self, flows: NDArray[np.void], export_ms: int) -> list[bytes]:
        first, backward = self._firsts(flows)
        flows = flows if len(first) == len(flows) else flows[first]
        v6 = flows["is_v6"]
        parts = [
            flow_records(self._messages, template, flows[rows], None if backward is None else backward[rows])
            for template, rows in ((self._templates.v4, ~v6), (self._templates.v6, v6))
        ]
        bounds = self._bounds(flows)
        # Records of each family that are in the datagrams before.
        before = [np.concatenate([[0], np.cumsum(rows)])[bounds].tolist() for rows in (~v6, v6)]
        messages = []
        for at in range(len(bounds) - 1):
            sets = [
                part.part(count[at], count[at + 1])
                for part, count in zip(parts, before, strict=True)
                if count[at] < count[at + 1]
            ]
            messages.append(self._messages.message(sets, export_ms))
        return messages

    def _firsts(self, flows: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.void] | None]:
        """Rows that begin a record, and, of biflows, the reverse of each: counters of 0 where there is none."""
        if self._templates.form != "biflow":
            return np.arange(len(flows)), None
        pairs = conversations(flows)
        first = np.flatnonzero(~np.concatenate([[False], pairs[:-1]]))
        backward = np.zeros(len(first), flows.dtype)
        paired = pairs[first]
        backward[paired] = flows[first[paired] + 1]
        return first, backward

    def _bounds(self, flows: NDArray[np.void]) -> list[int]:
        """Record at which each datagram begins, and the end; a flow is a record."""
        ends = [0, *np.cumsum(record_octets(self._templates, flows)).tolist()]
        sixes = [0, *np.cumsum(flows["is_v6"]).tolist()]
        # Less a set's header and padding; where both families are, less two of them.
        one = self._room - SET_HEADER_OCTETS
        # A set is filled up to a multiple of four octets.
        one, two = one - one % 4, self._room - 2 * (SET_HEADER_OCTETS + 3)
        bounds = [0]
        while (at := bounds[-1]) < len(flows):
            to = bisect_right(ends, ends[at] + one, lo=at) - 1
            if 0 < sixes[to] - sixes[at] < to - at:
                to = bisect_right(ends, ends[at] + two, lo=at) - 1
            bounds.append(to)
        return bounds
