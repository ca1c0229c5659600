"""``replay FILE --to``: payloads, order and identities, against captures written here by scapy."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from flowtide.replay_send import ReplayError, read_sources, replay_to, send_file

# Without addresses scapy asks the network for them.
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


@pytest.fixture
def inbox() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind(("127.0.0.1", 0))
        made.settimeout(0.3)
        yield made


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "three.pcap"
    ends = [("192.0.2.1", "a"), ("192.0.2.2", "b"), ("192.0.2.1", "c"), ("127.9.9.9", "d"), ("192.0.2.2", "e")]
    packets = [ETHER / IP(src=host, dst="192.0.2.99") / UDP(sport=1, dport=2055) / text for host, text in ends]
    packets.insert(2, ETHER / IP(src="192.0.2.1", dst="192.0.2.99") / TCP(dport=80))
    packets.append(ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=4739) / "f")
    wrpcap(str(path), packets)
    return path


def arrived(inbox: socket.socket) -> list[tuple[str, bytes]]:
    got = []
    try:
        while True:
            payload, (host, _) = inbox.recvfrom(65_535)
            got.append((host, payload))
    except TimeoutError:
        return got


def test_each_exporter_has_an_address_of_its_own(inbox: socket.socket, capture: Path) -> None:
    replayed = send_file(capture, inbox.getsockname())
    assert arrived(inbox) == [
        ("127.1.0.1", b"a"), ("127.1.0.2", b"b"), ("127.1.0.1", b"c"), ("127.9.9.9", b"d"), ("127.1.0.2", b"e"),
        ("127.1.0.3", b"f"),
    ]  # fmt: skip
    assert (replayed.datagrams, replayed.octets, replayed.left_out, replayed.cut) == (6, 6, 1, 0)
    assert {exporter: (sent.source, sent.datagrams) for exporter, sent in replayed.exporters.items()} == {
        "192.0.2.1": ("127.1.0.1", 2), "192.0.2.2": ("127.1.0.2", 2), "127.9.9.9": ("127.9.9.9", 1),
        "2001:db8::1": ("127.1.0.3", 1),
    }  # fmt: skip


def test_a_table_decides_and_is_printed(
    inbox: socket.socket, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "as.csv"
    table.write_text("exporter,source\n2001:DB8:0::1,127.1.0.1\n\n192.0.2.2,127.7.7.7\n")
    host, port = inbox.getsockname()
    replay_to(capture, f"{host}:{port}", 5_000, table, allow_remote=False)
    assert [source for source, _ in arrived(inbox)] == [
        "127.1.0.2", "127.7.7.7", "127.1.0.2", "127.9.9.9", "127.7.7.7", "127.1.0.1",
    ]  # fmt: skip
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["192.0.2.2", "127.7.7.7", "2", "2"] in lines
    assert ["total", "6", "6"] in lines


def test_the_pace_is_kept(inbox: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "many.pcap"
    wrpcap(str(path), [ETHER / IP(src="192.0.2.1") / UDP() / bytes([number]) for number in range(64)])
    slept: list[float] = []
    send_file(path, inbox.getsockname(), rate=100, sleep=slept.append, clock=lambda: 50.0)
    # Datagrams 16, 32 and 48 are due 0.16, 0.32 and 0.48 s after the start, and this clock stands still.
    assert slept == pytest.approx([0.16, 0.32, 0.48])
    assert [payload[0] for _, payload in arrived(inbox)] == list(range(64))


def test_another_machine_is_refused_unless_told(capture: Path) -> None:
    with pytest.raises(ReplayError, match="not on this machine"):
        send_file(capture, ("192.0.2.50", 2055))
    with pytest.raises(ReplayError, match="write it as an address"):
        send_file(capture, ("collector.example", 2055))
    with pytest.raises(ReplayError, match="brackets"):
        replay_to(capture, "::1:2055", 100, None, allow_remote=False)


def test_a_source_that_this_machine_has_not_is_told(inbox: socket.socket, capture: Path) -> None:
    with pytest.raises(ReplayError, match=r"cannot send from 192\.0\.2\.1"):
        send_file(capture, inbox.getsockname(), sources={"192.0.2.1": "192.0.2.1"})


def test_a_file_that_is_no_capture_is_told(inbox: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no packets here, only words")
    with pytest.raises(ReplayError, match="neither pcap nor pcapng"):
        send_file(path, inbox.getsockname())
    with pytest.raises(ReplayError, match="missing"):
        send_file(tmp_path / "missing", inbox.getsockname())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n", r":1: the header"),
        ("exporter,source\n192.0.2.1\n", r":2: .*two addresses"),
        ("exporter,source\n192.0.2.1,nowhere\n", r":2: .*nowhere"),
        ("exporter,source\n192.0.2.1,127.0.0.5\n192.0.2.1,127.0.0.6\n", r":3: 192\.0\.2\.1 has a source"),
    ],
)
def test_a_wrong_table_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "as.csv"
    path.write_text(text)
    with pytest.raises(ReplayError, match=says):
        read_sources(path)
