"""The accounting port: FreeRADIUS' radclient gets answers, bad requests are counted, and what was answered stays."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from enricher.leases import HELD
from enricher.radius.settings import RadiusSettings, SecretError
from enricher.radius.source import RadiusSource
from flowtide.simulator.radius import Client, Nas, Record, Status, answers, encode
from tests.unit.test_radius_packet import BAD, SECRET, START, attribute, signed

NAS = Nas("192.0.2.201", "bras-1")


def chosen(**changes: object) -> RadiusSettings:
    plain = {"listen": "127.0.0.1:0", "clients": {"127.0.0.0/8": SECRET.decode()}}
    return RadiusSettings.model_validate(plain | changes)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[RadiusSource]:
    made = RadiusSource(chosen(), tmp_path / "radius")
    yield made
    made.close()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"enricher_radius_{name}_total", labels) or 0.0


def leases(source: RadiusSource) -> dict[str, tuple[int, int, str]]:
    """Since, until and subscriber by IPv4 address."""
    rows = source.poll(0.0)
    assert rows is not None
    return {
        str(socket.inet_ntoa(int(rows.low[at] & 0xFFFFFFFF).to_bytes(4, "big"))): (
            int(rows.since[at]), int(rows.until[at]), rows.subscribers[rows.subscriber[at]],
        )
        for at in range(len(rows))
    }  # fmt: skip


def radclient(source: RadiusSource, *lines: str, secret: str = SECRET.decode()) -> subprocess.CompletedProcess[str]:
    if not shutil.which("radclient"):
        reason = "radclient is not installed (Debian package freeradius-utils)"
        pytest.fail(reason) if os.environ.get("FLOWTIDE_NO_SKIP") == "1" else pytest.skip(reason)
    return subprocess.run(
        ["radclient", "-c", "1", "-r", "1", "-t", "2", f"127.0.0.1:{source.address[1]}", "acct", secret],
        input="\n\n".join(lines) + "\n", timeout=30, text=True, capture_output=True,
    )  # fmt: skip


def line(status: str, at: int, user: str, address: str, more: str = "") -> str:
    return (
        f'Acct-Status-Type = {status}, User-Name = "{user}", NAS-IP-Address = 192.0.2.201, Acct-Session-Id = "{user}", '
        f'Framed-IP-Address = {address}, Class = "fixed;personal;pppoe;east", Event-Timestamp = {at}{more}'
    )


def test_freeradius_hands_an_address_over(source: RadiusSource) -> None:
    now = int(time.time()) - 900
    sent = radclient(
        source,
        line("Start", now, "alice", "198.18.0.7"),
        line("Interim-Update", now + 300, "alice", "198.18.0.7", ", Acct-Session-Time = 300"),
        line("Stop", now + 600, "alice", "198.18.0.7", ", Acct-Input-Octets = 7, Acct-Input-Gigawords = 1,"
             " Acct-Output-Octets = 9, Acct-Session-Time = 600"),
        line("Start", now + 600, "bob", "198.18.0.8"),
    )  # fmt: skip
    assert (sent.returncode, sent.stdout.count("Received Accounting-Response")) == (0, 4)
    assert leases(source) == {
        "198.18.0.7": (now * 1000, (now + 600) * 1000, "alice"), "198.18.0.8": ((now + 600) * 1000, HELD, "bob"),
    }  # fmt: skip
    assert source.poll(0.0) is None  # nothing changed
    usage = source.usage()
    assert {(each.subscriber, each.access) for each in usage} == {("alice", "pppoe")}
    assert sum(each.in_octets for each in usage) == 2**32 + 7
    assert sum(each.out_octets for each in usage) == 9
    status = source.status(time.time())
    assert (status.kind, status.leases, status.newest_ms, status.stale, status.error) == (
        "radius", 2, (now + 600) * 1000, False, None,
    )  # fmt: skip
    assert source.status(time.time() + 4_000).stale


def test_freeradius_with_another_secret_gets_no_answer(source: RadiusSource) -> None:
    before = counted("dropped", reason="authenticator")
    sent = radclient(source, line("Start", 1_717_340_400, "eve", "198.18.0.7"), secret="forged")
    assert sent.returncode == 1
    assert counted("dropped", reason="authenticator") == before + 1
    assert leases(source) == {}


@pytest.mark.parametrize(("datagram", "reason"), BAD.values(), ids=BAD)
def test_a_bad_request_is_counted_and_not_answered(source: RadiusSource, datagram: bytes, reason: str) -> None:
    before = counted("dropped", reason=reason)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(source.address)
        sender.settimeout(5)
        sender.send(datagram)
        sender.send(good := signed(START + attribute(8, bytes((198, 18, 0, 1))) + attribute(1, b"alice")))
        assert answers(sender.recv(4_096), good, SECRET)  # the first answer is that of the second
        sender.settimeout(0)
        with pytest.raises(BlockingIOError):
            sender.recv(4_096)
    assert counted("dropped", reason=reason) == before + 1
    assert list(leases(source)) == ["198.18.0.1"]


def test_an_unknown_client_is_counted_and_not_answered(tmp_path: Path) -> None:
    source = RadiusSource(chosen(clients={"192.0.2.0/24": SECRET.decode()}), tmp_path)
    before = counted("dropped", reason="unknown_client")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(source.address)
        sender.settimeout(0.3)
        sender.send(signed(START))
        with pytest.raises(TimeoutError):
            sender.recv(4_096)
    source.close()
    assert counted("dropped", reason="unknown_client") == before + 1


def test_the_same_datagram_again_is_answered_and_written_once(source: RadiusSource, tmp_path: Path) -> None:
    request = signed(START + attribute(8, bytes((198, 18, 0, 1))) + attribute(1, b"alice"))
    before = counted("records", outcome="repeated")
    forged = request[:-1] + b"x"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(source.address)
        sender.settimeout(5)
        for _ in range(3):
            sender.send(request)
            assert answers(sender.recv(4_096), request, SECRET)
        size = sum(path.stat().st_size for path in (tmp_path / "radius").iterdir())
        sender.settimeout(0.3)
        sender.send(forged)  # an authenticator that is known, over other attributes
        with pytest.raises(TimeoutError):
            sender.recv(4_096)
    assert counted("records", outcome="repeated") == before + 2
    assert size < 2 * len(request)


def test_a_disk_that_refuses_gets_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = RadiusSource(chosen(), tmp_path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    request = signed(START + attribute(8, bytes((198, 18, 0, 1))) + attribute(1, b"alice"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(source.address)
        sender.settimeout(0.5)
        with monkeypatch.context() as patched:
            patched.setattr("enricher.radius.journal.os.fdatasync", full)
            sender.send(request)
            with pytest.raises(TimeoutError):
                sender.recv(4_096)
            assert "No space left" in str(source.status(time.time()).error)
            assert leases(source) == {}
        sender.settimeout(5)
        sender.send(request)
        assert answers(sender.recv(4_096), request, SECRET)
    assert source.status(time.time()).error is None
    source.close()
    again = RadiusSource(chosen(), tmp_path)
    assert list(leases(again)) == ["198.18.0.1"]
    again.close()


def test_a_secret_is_in_no_text(tmp_path: Path) -> None:
    settings = chosen(clients={"127.0.0.1": "a secret of many letters"})
    assert "letters" not in f"{settings!r} {settings} {settings.model_dump()}"
    with pytest.raises(SecretError) as error:
        RadiusSource(chosen(clients={"127.0.0.1": f"file:{tmp_path / 'none'}"}), tmp_path)
    assert "none: No such file" in str(error.value)
    (tmp_path / "key").write_bytes(SECRET + b"\n")
    source = RadiusSource(chosen(clients={"127.0.0.1": f"file:{tmp_path / 'key'}"}), tmp_path / "radius")
    client = Client(source.address, SECRET)
    assert client.send(records(1)[0])
    client.close()
    source.close()


def records(count: int) -> list[Record]:
    """Starts, a user each, a second from each other."""
    now = int(time.time()) - count
    return [
        Record(
            (now + at) * 1000, Status.START, NAS, f"{at:05}", f"user-{at}", label="fixed;personal;pppoe;east",
            ipv4=f"198.18.{at // 250}.{at % 250 + 1}",
        )
        for at in range(count)
    ]  # fmt: skip


def test_snapshots_take_the_place_of_the_journal(tmp_path: Path) -> None:
    source = RadiusSource(chosen(segment_bytes=4_000), tmp_path)
    client = Client(source.address, SECRET)
    sent = records(200)
    for each in sent:
        assert client.send(each)
        assert client.send(replace(each, status=Status.INTERIM, in_octets=5, out_octets=6, seconds=0))
    expected, octets = leases(source), source.usage()
    client.close()
    source.close()
    assert len(list(tmp_path.glob("*.snapshot"))) == 1
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) < 20_000
    again = RadiusSource(chosen(), tmp_path)
    assert (leases(again), again.usage()) == (expected, octets)
    assert len(expected) == 200
    again.close()


CHILD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from enricher.radius.settings import RadiusSettings
    from enricher.radius.source import RadiusSource
    from sinks.telemetry import configure_logging
    configure_logging("error")
    source = RadiusSource(RadiusSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
    print(source.address[1], flush=True)
    time.sleep(60)
    """
)


@pytest.mark.parametrize("seed", range(3))
def test_what_was_answered_is_there_after_a_kill(tmp_path: Path, seed: int) -> None:
    """Killed in the middle of a stream, with snapshots going on; the last write is then cut off or damaged as well."""
    chance = random.Random(seed)
    asked = f'{{"listen": "127.0.0.1:0", "clients": {{"127.0.0.1": "{SECRET.decode()}"}}, "segment_bytes": 9000}}'
    answered: dict[str, str] = {}
    sent = records(900)
    stream = [encode(each, SECRET, at % 256) for at, each in enumerate(sent)]
    at = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, asked, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        port = int(child.stdout.readline())
        die = at + chance.randrange(50, 280)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", port))
            sender.settimeout(0.5)
            waiting: dict[int, int] = {}
            while at < die:
                for _ in range(chance.randrange(1, 30)):  # several on the way at a time
                    if at < len(stream):
                        sender.send(stream[at])
                        waiting[at % 256] = at
                        at += 1
                if at >= die:
                    child.send_signal(signal.SIGKILL)
                try:
                    while waiting:
                        response = sender.recv(4_096)
                        number = waiting.pop(response[1])
                        assert answers(response, stream[number], SECRET)
                        answered[sent[number].ipv4] = sent[number].user
                except OSError:  # refused or silent: it is dead
                    assert at >= die
        child.wait(10)
        child.stdout.close()
        newest = max(tmp_path.glob("*.log"))
        with newest.open("ab") as file:  # what a write leaves that was cut off
            file.write(chance.choice([b"", b"\x40", b"\x40\0\0\0\1\2\3\4torn", bytes(64)]))
    assert len(answered) > 100
    again = RadiusSource(chosen(), tmp_path)
    held = {address: subscriber for address, (_, _, subscriber) in leases(again).items()}
    again.close()
    assert {address: held.get(address) for address in answered} == answered
    assert set(held.items()) <= {(each.ipv4, each.user) for each in sent}


def test_two_sources_do_not_share_a_port(source: RadiusSource, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        RadiusSource(chosen(listen=f"127.0.0.1:{source.address[1]}"), tmp_path / "other")
