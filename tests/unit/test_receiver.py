"""Both receivers behind one interface, over real loopback sockets."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import pytest

from collector.receiver import (
    Receiver,
    ReceiverFailed,
    ReceiverSettings,
    SlabReceiver,
    make_receiver,
    nap_seconds,
)
from collector.recvmmsg import LARGEST, Addresses, Slab, available, normalised
from collector.sockets import BindError, BoundSocket, open_sockets, parse_address

Kind = Literal["recvmmsg", "asyncio"]
KINDS: list[Kind] = ["recvmmsg", "asyncio"] if available() else ["asyncio"]
both = pytest.mark.parametrize("kind", KINDS)
slabs_only = pytest.mark.skipif(not available(), reason="recvmmsg is Linux's")
_LONG = 5.0  # seconds; a test that waits so long has failed


@contextmanager
def receiving(settings: ReceiverSettings) -> Iterator[tuple[Receiver, list[BoundSocket]]]:
    sockets = open_sockets(settings.listen, settings.buffer_bytes)
    receiver = make_receiver(sockets, settings)
    try:
        receiver.start()
        yield receiver, sockets
    finally:
        receiver.stop()
        for bound in sockets:
            bound.close()


@contextmanager
def sender(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((host, 0))
        yield made


def settings(kind: Kind, *listen: str, **more: int) -> ReceiverSettings:
    return ReceiverSettings(listen=listen or ("127.0.0.1:0",), receiver=kind, **more)


def collect(receiver: Receiver, count: int) -> list[tuple[str, bytes]]:
    """Exporter and payload of the next ``count`` datagrams, or of those that came in time."""
    got: list[tuple[str, bytes]] = []
    end = time.monotonic() + _LONG
    while len(got) < count and time.monotonic() < end:
        datagrams = receiver.read(0.2)
        if datagrams is not None:
            got += zip(datagrams.exporters, map(bytes, datagrams.payloads), strict=True)
    return got


@both
def test_datagrams_arrive_whole_and_in_order(kind: Kind) -> None:
    sent = [bytes([number % 251]) * (number % 1400) for number in range(500)]
    with receiving(settings(kind)) as (receiver, [bound]), sender("127.0.0.7") as out:
        for payload in sent:
            out.sendto(payload, bound.address)
        assert collect(receiver, len(sent)) == [("127.0.0.7", payload) for payload in sent]
        counts = receiver.counts()
    assert (counts.datagrams, counts.octets) == (500, sum(map(len, sent)))
    assert (counts.truncated, counts.stalls, counts.dropped) == (0, 0, 0)


@both
def test_several_sockets_and_one_spelling_an_exporter(kind: Kind) -> None:
    with (
        receiving(settings(kind, "127.0.0.1:0", "[::]:0")) as (receiver, [narrow, dual]),
        sender("127.0.0.8") as old,
        sender("::1") as new,
    ):
        old.sendto(b"a", narrow.address)
        old.sendto(b"b", ("127.0.0.1", dual.address[1]))  # seen as ::ffff:127.0.0.8
        new.sendto(b"c", ("::1", dual.address[1]))
        assert sorted(collect(receiver, 3)) == [("127.0.0.8", b"a"), ("127.0.0.8", b"b"), ("::1", b"c")]


@both
def test_received_is_the_clock_of_the_read(kind: Kind) -> None:
    with receiving(settings(kind)) as (receiver, [bound]), sender() as out:
        before = time.time_ns() // 1_000_000
        out.sendto(b"x", bound.address)
        datagrams = receiver.read(_LONG)
        assert datagrams is not None
        assert before <= datagrams.received_ms <= time.time_ns() // 1_000_000


@both
def test_nothing_within_the_timeout_is_none(kind: Kind) -> None:
    with receiving(settings(kind)) as (receiver, _):
        assert receiver.read(0.01) is None


@both
def test_what_was_read_before_the_stop_is_handed_over(kind: Kind) -> None:
    with receiving(settings(kind)) as (receiver, [bound]), sender() as out:
        for number in range(100):
            out.sendto(b"%d" % number, bound.address)
        first = collect(receiver, 1)
        deadline = time.monotonic() + _LONG
        while _waits(bound) and time.monotonic() < deadline:
            time.sleep(0.01)
        receiver.stop()
        rest: list[bytes] = []
        while (datagrams := receiver.read(0)) is not None:
            rest += map(bytes, datagrams.payloads)
        assert [payload for _, payload in first] + rest == [b"%d" % number for number in range(100)]
        assert receiver.read(0) is None


def _waits(bound: BoundSocket) -> bool:
    try:
        bound.udp.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


@slabs_only
def test_a_long_datagram_is_cut_once_and_then_slots_are_wide() -> None:
    long = os.urandom(20_000)
    with receiving(settings("recvmmsg")) as (receiver, [bound]), sender() as out:
        out.sendto(b"short", bound.address)
        out.sendto(long, bound.address)
        cut: list[bytes] = []
        while len(cut) < 2:
            datagrams = receiver.read(_LONG)
            assert datagrams is not None
            for index, payload in enumerate(map(bytes, datagrams.payloads)):
                assert (index in datagrams.truncated) == (payload != b"short")
                cut.append(payload)
        assert cut == [b"short", long[:9_216]]
        # The slab being filled meanwhile is still narrow; whichever comes after it is wide.
        for _ in range(50):
            out.sendto(long, bound.address)
            datagrams = receiver.read(_LONG)
            assert datagrams is not None
            if bytes(datagrams.payloads[-1]) == long:
                break
        else:
            pytest.fail("no datagram of 20,000 octets came whole")
        assert not datagrams.truncated
        assert 1 <= receiver.counts().truncated <= 50


@slabs_only
def test_without_a_free_slab_the_kernel_drops_and_every_datagram_is_accounted_for() -> None:
    small = settings("recvmmsg", slabs=3, slots=16, buffer_bytes=32_768)
    with receiving(small) as (receiver, [bound]), sender() as out:
        for number in range(400):  # nobody reads: 3 x 16 in slabs, some in the kernel's buffer, the rest is dropped
            out.sendto(b"%d" % number, bound.address)
            if number % 8 == 0:
                time.sleep(0.002)  # let the reading thread fill its slabs
        deadline = time.monotonic() + _LONG
        while not receiver.counts().stalls and time.monotonic() < deadline:
            time.sleep(0.01)
        assert receiver.counts().stalls >= 1
        dropped = receiver.kernel_drops()[bound.name]
        assert dropped > 0
        got = [int(payload) for _, payload in collect(receiver, 400 - dropped)]
        assert len(got) + dropped == 400
        assert got == sorted(got)
        assert got[:48] == list(range(48))


def test_a_full_queue_of_the_portable_receiver_drops_and_counts() -> None:
    with receiving(settings("asyncio", slabs=3, slots=16)) as (receiver, [bound]), sender() as out:
        for number in range(100):
            out.sendto(b"%d" % number, bound.address)
        deadline = time.monotonic() + _LONG
        while receiver.counts().dropped < 52 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert receiver.counts().dropped == 100 - 3 * 16
        assert [payload for _, payload in collect(receiver, 48)] == [b"%d" % number for number in range(48)]


@both
def test_a_dead_reading_thread_is_told_by_read(kind: Kind) -> None:
    sockets = open_sockets(["127.0.0.1:0"], 1 << 20)
    receiver = make_receiver(sockets, settings(kind))
    sockets[0].close()
    receiver.start()
    with pytest.raises(ReceiverFailed):
        receiver.read(_LONG)
    receiver.stop()


def test_nap_is_a_quarter_of_what_the_buffer_lasts() -> None:
    # 92 datagrams last 3.07 ms at 30,000 a second.
    assert nap_seconds(92, 30_000, 0.005) == pytest.approx(0.003_066_7 / 4, rel=1e-3)
    assert nap_seconds(92, 10, 0.005) == pytest.approx(0.001_53, rel=1e-2)  # half of it, whatever the rate was
    assert nap_seconds(29_000, 30_000, 0.005) == 0.005
    assert nap_seconds(92, 1e9, 0.005) > 0


@slabs_only
def test_the_memory_of_wide_slots_has_the_bound_of_narrow_ones() -> None:
    slab = Slab(slots=8, slot_bytes=LARGEST, budget_bytes=2 * LARGEST)
    with sender() as inbox, sender() as out:
        for payload in (os.urandom(60_000), os.urandom(60_000)):
            for _ in range(3):  # a default receive buffer holds three
                out.sendto(payload, inbox.getsockname())
            assert slab.room() == 2
            assert [slab.fill(inbox.fileno(), 8), slab.fill(inbox.fileno(), 8)] == [2, 0]
            assert slab.room() == 0
            assert [bytes(view) for view in slab.datagrams(Addresses()).payloads] == [payload, payload]
            slab.clear()
            assert slab.fill(inbox.fileno(), 8) == 1
            slab.clear()


@slabs_only
def test_interned_addresses_are_bounded() -> None:
    addresses = Addresses()
    family = socket.AF_INET.to_bytes(2, sys.byteorder)
    for number in range(70_000):
        name = family + bytes(2) + number.to_bytes(4, "big") + bytes(20)
        assert addresses[name] == socket.inet_ntoa(number.to_bytes(4, "big"))
    assert len(addresses) <= 65_536


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_one_spelling(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_a_busy_port_gives_the_next_free_one() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(sender())
        port = first.getsockname()[1]
        [bound] = open_sockets([f"127.0.0.1:{port}"], 1 << 16)
        stack.callback(bound.close)
        assert port < bound.address[1] < port + 100
        assert bound.name == f"127.0.0.1:{bound.address[1]}"


def test_another_process_can_take_a_socket_over() -> None:
    [bound] = open_sockets(["127.0.0.1:0"], 1 << 16)
    with sender() as out:
        out.sendto(b"before", bound.address)
        taken = BoundSocket.from_fd(os.dup(bound.fileno()))
        bound.close()
        assert taken.udp.recv(100, socket.MSG_DONTWAIT) == b"before"
        assert (taken.address, taken.granted_bytes) == (bound.address, bound.granted_bytes)
        taken.close()


@pytest.mark.skipif(not available(), reason="SO_RCVBUF is doubled by Linux only")
def test_the_buffer_is_as_large_as_asked_where_the_kernel_allows() -> None:
    [bound] = open_sockets(["127.0.0.1:0"], 212_992)
    with bound.udp:
        assert bound.granted_bytes == 212_992 == bound.udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2055", "HOST:PORT"),
        ("127.0.0.1:99999", "HOST:PORT"),
        ("::1:2055", "brackets"),
        (":2055", "name the host"),
        ("host.invalid:2055", "not an address"),
        ("192.0.2.77:2055", "choose another"),
    ],
)
def test_a_wrong_address_is_told(text: str, says: str) -> None:
    with pytest.raises(BindError, match=says):
        open_sockets([text], 1 << 16)


@pytest.mark.parametrize("text", ["[::1]:2055", "[2001:db8::1]:1"])
def test_ipv6_addresses_are_in_brackets(text: str) -> None:
    host, port = parse_address(text)
    assert text == f"[{host}]:{port}"


def test_the_platform_decides_by_itself() -> None:
    [bound] = open_sockets(["127.0.0.1:0"], 1 << 16)
    with bound.udp:
        made = make_receiver([bound], ReceiverSettings())
        assert isinstance(made, SlabReceiver) == available()
        made.stop()
