"""Capture files: the UDP datagrams of a pcap or pcapng, with the addresses they had on the wire."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

import dpkt


class CaptureError(Exception):
    """The file is no capture, or breaks off; says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class CapturedDatagram:
    """One UDP datagram."""

    number: int  # of the packet in the file, from 1
    time_ms: int  # Unix ms at which it was captured
    exporter: str  # source address
    source_port: int
    destination_port: int
    payload: bytes
    is_cut: bool  # the capture holds less of it than was sent


@dataclass(slots=True)
class CaptureCounts:
    """packets = datagrams + not_udp + fragments + malformed; cut: datagrams of which the file holds only a part."""

    packets: int = 0
    datagrams: int = 0
    not_udp: int = 0
    fragments: int = 0
    malformed: int = 0
    cut: int = 0


@dataclass(slots=True)
class Capture:
    """An open file; iterate over its datagrams once."""

    path: Path
    counts: CaptureCounts = field(default_factory=CaptureCounts)

    def __iter__(self) -> Iterator[CapturedDatagram]:
        """Datagrams in order; CaptureError when the file cannot be read (on)."""
        try:
            with self.path.open("rb") as file:
                yield from self._read(file)
        except OSError as error:
            raise CaptureError(f"{self.path}: {error.strerror or error}; name a pcap or pcapng file") from error

    def _read(self, file: BinaryIO) -> Iterator[CapturedDatagram]:
        try:
            reader = dpkt.pcap.UniversalReader(file)
            link = reader.datalink()
        except (ValueError, dpkt.Error, struct.error, IndexError, KeyError) as error:
            raise CaptureError(
                f"{self.path}: neither pcap nor pcapng ({error}); write it with: tcpdump -w FILE udp"
            ) from error
        packets = iter(reader)
        while True:
            try:
                time, octets = next(packets)
            except StopIteration:
                return
            except (ValueError, dpkt.Error, struct.error, IndexError) as error:
                raise CaptureError(
                    f"{self.path}: breaks off after packet {self.counts.packets} ({error or 'cut short'}); "
                    "what comes before it can be saved with: editcap"
                ) from error
            self.counts.packets += 1
            datagram = self._datagram(link, float(time), bytes(octets))
            if datagram is not None:
                self.counts.datagrams += 1
                self.counts.cut += datagram.is_cut
                yield datagram

    def _datagram(self, link: int, time: float, octets: bytes) -> CapturedDatagram | None:
        try:
            packet = _network_layer(link, octets)
        except (dpkt.Error, struct.error, IndexError, ValueError):
            self.counts.malformed += 1
            return None
        if not isinstance(packet, dpkt.ip.IP | dpkt.ip6.IP6) or packet.p != dpkt.ip.IP_PROTO_UDP:
            self.counts.not_udp += 1
            return None
        if isinstance(packet, dpkt.ip.IP) and (packet.mf or packet.offset):
            self.counts.fragments += 1
            return None
        udp = packet.data
        if not isinstance(udp, dpkt.udp.UDP):
            self.counts.malformed += 1
            return None
        address = ip_address(packet.src)
        mapped = getattr(address, "ipv4_mapped", None)
        return CapturedDatagram(
            number=self.counts.packets,
            time_ms=round(time * 1000),
            exporter=str(mapped or address),
            source_port=udp.sport,
            destination_port=udp.dport,
            payload=bytes(udp.data)[: max(0, udp.ulen - 8)],
            is_cut=len(udp.data) < udp.ulen - 8,
        )


def _network_layer(link: int, octets: bytes) -> object:
    if link == dpkt.pcap.DLT_EN10MB:
        return dpkt.ethernet.Ethernet(octets).data
    if link in (dpkt.pcap.DLT_LINUX_SLL, dpkt.pcap.DLT_LINUX_SLL2):
        kind = dpkt.sll.SLL if link == dpkt.pcap.DLT_LINUX_SLL else dpkt.sll2.SLL2
        return kind(octets).data
    if link in (dpkt.pcap.DLT_NULL, dpkt.pcap.DLT_LOOP):
        octets = octets[4:]  # address family
    # DLT_RAW has other numbers on other systems; the version in the first octet says enough.
    if not octets:
        raise ValueError("empty packet")
    return dpkt.ip6.IP6(octets) if octets[0] >> 4 == 6 else dpkt.ip.IP(octets)
