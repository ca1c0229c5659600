"""``flowtide replay FILE --to``: a capture's UDP payloads, sent again to a collector on this machine.

Each exporter keeps an identity: its datagrams come from a loopback address of its own.  A capture's flow times are left
as they are.
"""

import csv
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from collector.capture import Capture, CapturedDatagram, CaptureError
from collector.sockets import BindError, parse_address

DEFAULT_RATE = 5_000.0
"""Datagrams a second: a receiver that naps 5 ms then finds 25 waiting, and a default receive buffer holds about 92."""

_BURST = 16  # datagrams between two breaths
_MAX_SOCKETS = 256  # of exporters heard last; a process may open about a thousand files
_FIRST_SOURCE = IPv4Address("127.1.0.1")
_MAX_SOURCES = 65_000  # within 127.1.0.0/16


class ReplayError(Exception):
    """Nothing (more) can be sent; says what, where and what to do."""


@dataclass(slots=True)
class SentAs:
    """What was sent for one exporter, and from which address (empty: whichever the system takes)."""

    source: str
    datagrams: int = 0
    octets: int = 0


@dataclass(slots=True)
class Replayed:
    """Totals of one replay; ``cut`` datagrams were sent as far as the capture holds them."""

    exporters: dict[str, SentAs] = field(default_factory=dict)
    datagrams: int = 0
    octets: int = 0
    cut: int = 0
    left_out: int = 0  # packets of the capture that are no whole UDP datagram


def send_file(
    path: Path,
    to: tuple[str, int],
    *,
    rate: float | None = DEFAULT_RATE,
    sources: Mapping[str, str] | None = None,
    allow_remote: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Replayed:
    """Send the UDP payloads of a pcap or pcapng in order, at most ``rate`` a second (None: as fast as it goes).

    ``sources`` gives exporters (addresses in the capture) the address to send from.  Others get one after the other
    of 127.1.0.0/16 when the target is 127.0.0.0/8, or keep theirs when it is a loopback address already; towards any
    other target they send from whichever address the system takes.  ReplayError when the file, the target or a source
    address cannot be used.
    """
    check_target(to[0], allow_remote)
    replayed = Replayed()
    plan = _Sources(to[0], {str(ip_address(one)): other for one, other in (sources or {}).items()})
    sockets: dict[str, socket.socket] = {}
    capture = Capture(path)
    begin = clock()
    try:
        for datagram in capture:
            if rate and replayed.datagrams and replayed.datagrams % _BURST == 0:
                sleep(max(0.0, begin + replayed.datagrams / rate - clock()))
            sent = replayed.exporters.get(datagram.exporter)
            if sent is None:
                sent = replayed.exporters[datagram.exporter] = SentAs(plan.source(datagram.exporter))
            _send(_socket(sockets, sent.source, to[0]), datagram, to)
            sent.datagrams += 1
            sent.octets += len(datagram.payload)
            replayed.datagrams += 1
            replayed.octets += len(datagram.payload)
            replayed.cut += datagram.is_cut
    except CaptureError as error:
        raise ReplayError(f"{error}; {replayed.datagrams} datagrams were sent before") from error
    finally:
        for opened in sockets.values():
            opened.close()
    counts = capture.counts
    replayed.left_out = counts.packets - counts.datagrams
    return replayed


def read_sources(path: Path) -> dict[str, str]:
    """The CSV ``exporter,source`` with a header; ReplayError names the line that is wrong."""
    sources: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if header != ["exporter", "source"]:
                raise ReplayError(f"{path}:1: the header is {','.join(header)!r}; write exporter,source")
            for row in rows:
                if not row:
                    continue
                try:
                    exporter, source = (str(ip_address(text.strip())) for text in row)
                except ValueError as error:
                    raise ReplayError(f"{path}:{rows.line_num}: {error}; write two addresses a line") from error
                if sources.setdefault(exporter, source) != source:
                    raise ReplayError(f"{path}:{rows.line_num}: {exporter} has a source already; name it once")
    except OSError as error:
        raise ReplayError(f"{path}: {error.strerror}; name a CSV with the header exporter,source") from error
    return sources


def replay_to(path: Path, to: str, rate: float, exporters: Path | None, allow_remote: bool) -> Replayed:
    """``send_file`` as typed on the command line, its result printed as a table."""
    try:
        target = parse_address(to)
    except BindError as error:
        raise ReplayError(str(error).replace("listen address", "target", 1)) from error
    sources = read_sources(exporters) if exporters is not None else None
    replayed = send_file(path, target, rate=rate, sources=sources, allow_remote=allow_remote)
    width = max((len(exporter) for exporter in replayed.exporters), default=8)
    print(f"{'exporter':<{width}}  {'sent from':<15}  {'datagrams':>9}  {'octets':>12}")
    for exporter, sent in replayed.exporters.items():
        print(f"{exporter:<{width}}  {sent.source or 'this machine':<15}  {sent.datagrams:>9}  {sent.octets:>12}")
    print(f"{'total':<{width}}  {'':<15}  {replayed.datagrams:>9}  {replayed.octets:>12}")
    if replayed.left_out or replayed.cut:
        print(f"packets that are no whole UDP datagram: {replayed.left_out}; datagrams cut short: {replayed.cut}")
    return replayed


class _Sources:
    """Which address an exporter sends from; the same order of exporters gives the same addresses."""

    def __init__(self, target: str, given: Mapping[str, str]) -> None:
        self._is_loopback = target.startswith("127.")
        self._given = given
        self._taken = set(given.values())
        self._next = 0

    def source(self, exporter: str) -> str:
        if exporter in self._given:
            return self._given[exporter]
        if not self._is_loopback:
            return ""
        if exporter.startswith("127."):
            return exporter
        while True:
            if self._next >= _MAX_SOURCES:
                raise ReplayError(f"more than {_MAX_SOURCES} exporters in one capture; split it with: editcap")
            candidate = str(_FIRST_SOURCE + self._next)
            self._next += 1
            if candidate not in self._taken:
                return candidate


def check_target(host: str, allow_remote: bool) -> None:
    """ReplayError for what is no address, or not on this machine unless that is allowed."""
    try:
        address = ip_address(host)
    except ValueError as error:
        raise ReplayError(f"target {host!r}: write it as an address, for example 127.0.0.1:2055") from error
    if not address.is_loopback and not allow_remote:
        raise ReplayError(f"target {host} is not on this machine; say --allow-remote if you mean it")


def _socket(sockets: dict[str, socket.socket], source: str, target: str) -> socket.socket:
    found = sockets.pop(source, None)
    if found is None:
        if len(sockets) >= _MAX_SOCKETS:
            sockets.pop(next(iter(sockets))).close()
        found = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM)
        if source:
            try:
                found.bind((source, 0))
            except OSError as error:
                found.close()
                raise ReplayError(
                    f"cannot send from {source}: {error.strerror}; give this machine the address, "
                    "or name another one for the exporter in a table (--exporters)"
                ) from error
    sockets[source] = found  # the last used is the last to be closed
    return found


def _send(opened: socket.socket, datagram: CapturedDatagram, to: tuple[str, int]) -> None:
    try:
        opened.sendto(datagram.payload, to)
    except OSError as error:
        raise ReplayError(f"packet {datagram.number} cannot be sent to {to[0]}:{to[1]}: {error.strerror}") from error
