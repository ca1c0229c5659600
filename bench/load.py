"""A line-rate exporter in a process of its own: pre-built datagrams, sent with ``sendmmsg`` at a given rate.

    python -m bench.load --to 127.0.0.1:2055 --kind v9 --records 28 --rate 100000 --seconds 5 --exporters 4

Prints one JSON object with what was sent, which is the truth that a trial compares with.
"""

import argparse
import ctypes
import json
import os
import signal
import socket
import struct
import threading
import time
from dataclasses import asdict, dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from flowtide.simulator.encoder import MessageEncoder, Version
from flowtide.simulator.population import populations
from flowtide.simulator.templates import FLOW_TEMPLATES, announcements, flow_sets
from flowtide.simulator.traffic import Traffic

_DISTINCT = 64  # pre-built datagrams an exporter: enough different flows, and they stay in the processor's cache
_ANNOUNCE_SECONDS = 5.0
_CATCH_UP = 1.2
_TICK_SECONDS = 0.000_5  # shorter than a default receive buffer lasts at 100,000 datagrams a second
_SEQUENCE_AT = {9: 12, 10: 8}  # offsets in the header: RFC 3954 section 5.1, RFC 7011 section 3.1
_SECONDS_AT = {9: 8, 10: 4}
_UPTIME_MS = 86_400_000


@dataclass(slots=True)
class Totals:
    """What was sent; announcements are datagrams without flows."""

    datagrams: int = 0
    flows: int = 0
    packets: int = 0
    octets: int = 0


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_size_t), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_size_t), ("name_length", ctypes.c_uint32), ("iov", ctypes.c_size_t),
        ("iov_length", ctypes.c_size_t), ("control", ctypes.c_size_t), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _MMsgHdr(ctypes.Structure):
    # Nested as in C: the inner structure's padding is part of it.
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint))


_libc = ctypes.CDLL(None, use_errno=True)


class Exporter:
    """Sends its datagrams round and round, with sequence numbers and times put right in place."""

    def __init__(self, to: tuple[str, int], version: Version, records: int, number: int, seed: int) -> None:
        people = populations(seed)["fixed"]
        traffic = Traffic("fixed", people, 1, (seed, 3, number))
        self.version, self.records = version, records
        self.totals = Totals()
        now_ms = int(time.time() * 1000)
        # The template and the flows are IPv4 only, so that all datagrams have one size.
        self._encoder = MessageEncoder(version, 1, now_ms - _UPTIME_MS)
        flows = traffic.take(_DISTINCT * records * 3)
        flows = flows[~flows["is_v6"]][: _DISTINCT * records]
        parts = [flows[at : at + records] for at in range(0, len(flows), records)]
        built = [bytearray(self._encoder.message(flow_sets(self._encoder, part, now_ms), now_ms)) for part in parts]
        self._encoder.sequence = 0
        self._packets = np.array([part["packets"].sum() for part in parts])
        self._octets = np.array([part["octets"].sum() for part in parts])
        self._built = np.array([np.frombuffer(datagram, np.uint8) for datagram in built])  # (distinct, octets)
        self._at = 0
        self._second = now_ms // 1000
        self._vectors = (_IoVec * _DISTINCT)()
        self._messages = (_MMsgHdr * _DISTINCT)()
        base, size = self._built.ctypes.data, self._built.shape[1]
        for at in range(_DISTINCT):
            self._vectors[at] = _IoVec(base + at * size, size)
            self._messages[at].header.iov = ctypes.addressof(self._vectors) + at * ctypes.sizeof(_IoVec)
            self._messages[at].header.iov_length = 1
        self._socket = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
        if to[0].startswith("127."):
            self._socket.bind((f"127.0.1.{1 + number}", 0))
        self._socket.connect(to)

    def announce(self) -> None:
        now_ms = int(time.time() * 1000)
        self._socket.send(self._encoder.message(announcements(self._encoder, None), now_ms))
        self.totals.datagrams += 1

    def send(self, count: int) -> None:
        """``count`` datagrams, at most as many as are pre-built behind the present place."""
        count = min(count, _DISTINCT - self._at)
        self._patch(count)
        address = ctypes.addressof(self._messages) + self._at * ctypes.sizeof(_MMsgHdr)
        sent = _libc.sendmmsg(self._socket.fileno(), ctypes.c_void_p(address), count, 0)
        if sent < 0:
            # The other end is away for a moment (a trial kills it): ICMP told so, nothing was sent.
            return
        chosen = slice(self._at, self._at + sent)
        self.totals.datagrams += sent
        self.totals.flows += sent * self.records
        self.totals.packets += int(self._packets[chosen].sum())
        self.totals.octets += int(self._octets[chosen].sum())
        step = 1 if self.version == 9 else self.records
        self._encoder.sequence = (self._encoder.sequence + sent * step) % 2**32
        self._at = (self._at + sent) % _DISTINCT

    def close(self) -> None:
        self._socket.close()

    def _patch(self, count: int) -> None:
        second = int(time.time())
        if second != self._second:
            self._move_times(second)
        step = 1 if self.version == 9 else self.records
        numbers = (self._encoder.sequence + step * np.arange(count)) % 2**32
        at = _SEQUENCE_AT[self.version]
        self._built[self._at : self._at + count, at : at + 4] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)

    def _move_times(self, second: int) -> None:
        moved_ms = (second - self._second) * 1000
        at = _SECONDS_AT[self.version]
        self._built[:, at : at + 4] = np.frombuffer(struct.pack(">I", second), np.uint8)
        # v9: uptime moves with the clock, in the header and in the flows (elements 22 and 21, the last of a record).
        width = 4 if self.version == 9 else 8
        header = 24 if self.version == 9 else 20  # with the set's header
        size = FLOW_TEMPLATES[self.version][0].dtype.itemsize
        records = sliding_window_view(self._built[:, header:], size, axis=1, writeable=True)[:, ::size]
        fields = [records[..., size - 2 * width : size - width], records[..., size - width :]]
        if self.version == 9:
            fields.append(self._built[:, None, 4:8])
        for field in fields:
            values = np.ascontiguousarray(field).view(f">u{width}") + moved_ms
            field[:] = values.astype(f">u{width}").view(np.uint8).reshape(field.shape)
        self._second = second


def run(
    to: tuple[str, int], version: Version, records: int, rate: float, seconds: float, exporters: int, seed: int,
    stop: threading.Event,
) -> dict[str, object]:  # fmt: skip
    """Send ``rate`` flows a second (0: as fast as it goes); returns what was sent."""
    senders = [Exporter(to, version, records, number, seed) for number in range(exporters)]
    for sender in senders:
        sender.announce()
    time.sleep(0.05)  # templates are there before the flows
    per_second = rate / records
    begin = announced = time.monotonic()
    done, turn = 0, 0
    late, before_tick = 0.0, begin
    while not stop.is_set() and (elapsed := time.monotonic() - begin) < seconds:
        due = int(elapsed * per_second) - done if rate else _DISTINCT
        if rate:
            late = max(late, due / per_second)
            # Held up by the machine, it catches up a little faster: a burst would test the machine, not the reader.
            now = time.monotonic()
            due = min(due, max(1, int(_CATCH_UP * per_second * min(now - before_tick, 4 * _TICK_SECONDS))))
            before_tick = now
        while due > 0:
            sender = senders[turn % exporters]
            before = sender.totals.datagrams
            sender.send(min(due, 16))
            moved = sender.totals.datagrams - before
            done, due, turn = done + moved, due - max(moved, 1), turn + 1
        if begin + elapsed - announced > _ANNOUNCE_SECONDS:
            announced = begin + elapsed
            for sender in senders:
                sender.announce()
        if rate:
            time.sleep(_TICK_SECONDS)
    took = time.monotonic() - begin
    parts = [asdict(sender.totals) for sender in senders]
    for sender in senders:
        sender.close()
    total: dict[str, object] = {name: sum(part[name] for part in parts) for name in parts[0]}
    by_exporter = {f"127.0.1.{1 + number}": part for number, part in enumerate(parts)}
    return {**total, "seconds": round(took, 3), "longest_pause_ms": round(late * 1000, 2), "exporters": by_exporter}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="send flows at a given rate")
    parser.add_argument("--to", required=True, help="HOST:PORT of the collector, IPv6 as [HOST]:PORT")
    parser.add_argument("--kind", choices=("v9", "ipfix"), default="v9")
    parser.add_argument("--records", type=int, default=0, help="flows a datagram; default 28 for v9, 18 for ipfix")
    parser.add_argument("--rate", type=float, default=0, help="flows a second; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=5, help="at most 600")
    parser.add_argument("--exporters", type=int, default=1, help="source addresses 127.0.1.1 and up")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not 0 < arguments.seconds <= 600 or not 1 <= arguments.exporters <= 250:
        parser.error("--seconds is above 0 and at most 600, --exporters 1 to 250")
    version: Version = 9 if arguments.kind == "v9" else 10
    host, _, port = arguments.to.rpartition(":")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    records = arguments.records or (28 if version == 9 else 18)
    sent = run(
        (host.strip("[]"), int(port)), version, records, arguments.rate, arguments.seconds, arguments.exporters,
        arguments.seed, stop,
    )  # fmt: skip
    print(json.dumps({**sent, "kind": arguments.kind, "records": records, "pid": os.getpid()}), flush=True)


if __name__ == "__main__":
    main()
