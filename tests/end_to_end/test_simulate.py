"""``flowtide simulate`` as a user types it: towards sockets of the test, read back by scapy."""

import csv
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scapy.layers.netflow import NetflowHeader, netflowv9_defragment

HEADER = "exporter         sampling         flows         packets            octets"


@contextmanager
def inbox() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(30)
        yield made


def command(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flowtide", "simulate", *words],
        cwd=cwd, env=os.environ | {"PYTHONUNBUFFERED": "1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def waiting(made: socket.socket) -> list[tuple[str, bytes]]:
    """What is in the buffer now: whoever sent it has ended."""
    got = []
    made.setblocking(False)
    try:
        while True:
            payload, (host, _) = made.recvfrom(65_535)
            got.append((host, payload))
    except BlockingIOError:
        return got


def flows_of(datagrams: list[bytes]) -> int:
    """Flow records of NetFlow v9 datagrams, as scapy reads them."""
    flows = 0
    for message in netflowv9_defragment([NetflowHeader(datagram) for datagram in datagrams]):
        layer = message.payload.payload
        while layer and layer.name != "NoPayload":
            kinds = [type(record).__name__ for record in layer.fields.get("records", [])]
            flows += sum(kind == "NetflowRecordV9" for kind in kinds)
            layer = layer.payload
    return flows


def test_what_it_says_it_sent_arrived_and_the_leases_are_written(tmp_path: Path) -> None:
    with inbox() as first, inbox() as second:
        to = ",".join(f"127.0.0.1:{made.getsockname()[1]}" for made in (first, second))
        # At most 70 datagrams a socket: a default buffer of the kernel holds 92 until they are read.
        done = command("--to", to, "--rate", "30", "--for", "2", "--leases", "leases.csv", cwd=tmp_path)
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, err
        got = waiting(first) + waiting(second)
    lines = out.splitlines()
    assert lines[1] == HEADER
    said = {line.split()[0]: int(line.split()[2].replace(",", "")) for line in lines[2:-1]}
    assert sum(said.values()) == int(lines[-1].split()[1].replace(",", ""))
    assert set(said) == {host for host, _ in got}
    v9 = [host for host in said if any(sent == host and data[:2] == b"\x00\x09" for sent, data in got)]
    assert len(v9) == 2
    for host in v9:
        assert said[host] > 0
        assert flows_of([data for sent, data in got if sent == host]) == said[host]
    with (tmp_path / "leases.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file))[0] == "prefix"
    assert [path.name for path in tmp_path.iterdir()] == ["leases.csv"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_totals(number: signal.Signals, tmp_path: Path) -> None:
    with inbox() as made:
        running = command("--to", f"127.0.0.1:{made.getsockname()[1]}", cwd=tmp_path)
        made.recv(65_535)  # it sends
        running.send_signal(number)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert HEADER in out and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "192.0.2.1:2055"], "192.0.2.1 is not on this machine; say --allow-remote"),
        (["--to", "collect:2055"], "write it as an address"),
        (["--to", "127.0.0.1:2055,198.51.100.1:2055"], "198.51.100.1 is not on this machine"),
        (["--to", "no-such-host.invalid:2055", "--allow-remote"], "no-such-host.invalid is not known"),
        (["--to", "127.0.0.1"], "write HOST:PORT"),
        (["--to", "127.0.0.1:0"], "name the port"),
        (["--to", "127.0.0.1:2055", "--leases", "nowhere/leases.csv"], "nowhere/leases.csv"),
        ([], "say --to HOST:PORT"),
        (["--to", "127.0.0.1:2055", "--scenario", "nosuch"], "nosuch: no such file"),
        (["--to", "127.0.0.1:2055", "--scenario", "report-week", "--rate", "5"], "use --speed"),
        (["--to", "127.0.0.1:2055", "--scenario", "line-rate", "--truth", "t"], "no truth"),
        (["--to", "127.0.0.1:2055", "--radius", "127.0.0.1:1813"], "FLOWTIDE_SIMULATE_RADIUS_SECRET"),
    ],
)
def test_mistakes_are_told_in_a_sentence(words: list[str], said: str, tmp_path: Path) -> None:
    done = command(*words, "--for", "1", cwd=tmp_path)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 1
    assert said in err and "Traceback" not in err


def test_a_name_is_looked_up_where_other_machines_are_allowed(tmp_path: Path) -> None:
    with inbox() as made:
        to = f"localhost:{made.getsockname()[1]}"
        done = command("--to", to, "--allow-remote", "--for", "1", cwd=tmp_path)
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, err
        got = waiting(made)
    assert got and to in out


def test_files_alone(tmp_path: Path) -> None:
    done = command("--scenario", "quiet", "--feeds", "feeds", cwd=tmp_path)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    there = {path.name for path in (tmp_path / "feeds").iterdir()}
    assert there == {"accounting.csv", "interfaces.csv", "kea4.csv", "kea6.csv", "leases.csv", "leases.parquet"}
    assert all(name in out for name in there)


def test_a_scenario_ends_by_itself_and_tells_its_truth(tmp_path: Path) -> None:
    with inbox() as made:
        to = f"127.0.0.1:{made.getsockname()[1]}"
        done = command("--scenario", "quiet", "--speed", "3600", "--to", to, "--truth", "truth", cwd=tmp_path)
        out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    table = pq.read_table(tmp_path / "truth" / "exporter_1m.parquet")
    said = {line.split()[0]: int(line.split()[2].replace(",", "")) for line in out.splitlines()[2:-1]}
    assert set(said) == {f"127.0.0.{number}" for number in range(2, 7)}
    for source, flows in said.items():
        assert sum(table.filter(pc.equal(table["exporter"], source))["flows"].to_pylist()) == flows > 0


def test_line_rate_sends_what_it_says(tmp_path: Path) -> None:
    with inbox() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        to = f"127.0.0.1:{made.getsockname()[1]}"
        done = command("--scenario", "line-rate", "--rate", "2000", "--for", "1", "--to", to, cwd=tmp_path)
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, err
        got = waiting(made)
    said = {line.split()[0]: int(line.split()[2].replace(",", "")) for line in out.splitlines()[2:-1]}
    for source in ("127.0.0.2", "127.0.0.3"):
        assert flows_of([data for host, data in got if host == source]) == said[source] > 0
    assert 1_000 < sum(said.values()) < 3_000
