"""Exporters that are not ours, as programs: softflowd, pmacctd's probes, Open vSwitch without a kernel module."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import dpkt
import pytest
from scapy.layers.inet import IP, UDP

from tests.shared import shared_folder


def capture() -> Path:
    """1,557 packets, of which IPv4 are 1,331."""
    return shared_folder("captures") / "ip_traffic" / "mix.pcap"


def program(name: str, package: str) -> str:
    """Path of a program; without it the test is skipped."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def softflowd(port: int, folder: Path, *options: str) -> None:
    """Let it read the capture and send its flows; returns when it has sent them."""
    subprocess.run(
        [program("softflowd", "softflowd"), "-r", capture(), "-n", f"127.0.0.1:{port}", "-d",
         "-p", folder / "pid", "-c", "none", *options],
        check=True, timeout=30, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def pmacctd(
    port: int, folder: Path, probe: str, address: str = "", reads: Path | None = None, **settings: object
) -> Iterator[None]:
    """``nfprobe`` or ``sfprobe`` reading a file (default: the capture), sending from ``address``; ended afterwards."""
    if address:
        settings |= {f"{probe}_source_ip": address}
    lines = {
        "daemonize": "false", "pcap_savefile": reads or capture(), "plugins": probe,
        "aggregate": "src_host, dst_host, src_port, dst_port, proto, tos, tcpflags",
        f"{probe}_receiver": f"127.0.0.1:{port}",
        # At the default sizes the capture is read faster than the probe takes it, and packets are left out.
        "plugin_pipe_size": 10_000_000, "plugin_buffer_size": 100_000, **settings,
    }  # fmt: skip
    config = folder / f"{probe}-{address}.conf"
    config.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    process = subprocess.Popen(
        [program("pmacctd", "pmacct"), "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


class Overheard:
    """A port whose datagrams are kept and passed on, from ``address``: what an exporter truly sent."""

    def __init__(self, address: str, to: int) -> None:
        self._in, self._out = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._in.bind(("127.0.0.1", 0))
        self._in.settimeout(0.2)
        self._out.bind((address, 0))
        self._out.connect(("127.0.0.1", to))
        self._datagrams, self._over = list[bytes](), threading.Event()
        self._thread = threading.Thread(target=self._pass_on)
        self.address, self.port = address, self._in.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._in.close()
        self._out.close()

    def _pass_on(self) -> None:
        while not self._over.is_set():
            try:
                datagram = self._in.recv(65_535)
            except TimeoutError:
                continue
            self._datagrams.append(datagram)
            self._out.send(datagram)

    def sflow_frames(self, folder: Path) -> list[int]:
        """Lengths of the sampled frames of all datagrams so far, as tshark reads them."""
        if not self._datagrams:
            return []
        file = folder / "overheard.pcap"
        with file.open("wb") as out:
            writer = dpkt.pcap.Writer(out, linktype=dpkt.pcap.DLT_RAW)
            for datagram in list(self._datagrams):
                writer.writepkt(bytes(IP(src=self.address, dst="127.0.0.1") / UDP(sport=6343, dport=6343) / datagram))
        command: list[str | Path] = ["tshark", "-r", file, "-T", "fields", "-e", "sflow_245.header.frame_length"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [int(length) for length in told.replace(",", " ").split()]


class OpenVSwitch:
    """A bridge of dummy ports in processes of its own: needs no kernel module, no namespace, no device."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._socket = folder, folder / "db"
        self._environment = {
            **os.environ,
            **{f"OVS_{name}DIR": str(folder) for name in ("RUN", "LOG", "DB", "SYSCONF")},
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, port: int) -> None:
        """A switch of two ports that exports each packet as sFlow and as IPFIX."""
        switch = program("ovs-vswitchd", "openvswitch-switch")
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        self._run("ovsdb-tool", "create", str(self._folder / "conf.db"), schema)
        self._begin(program("ovsdb-server", "openvswitch-switch"), "conf.db", f"--remote=punix:{self._socket}")
        self._set("--no-wait", "init")
        self._begin(
            switch, f"unix:{self._socket}", "--enable-dummy=override", "--disable-system",
            f"--unixctl={self._folder / 'control'}",
        )  # fmt: skip
        self._set(
            "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail-mode=standalone",
            *("--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy"),
            *("--", "add-port", "br0", "p2", "--", "set", "interface", "p2", "type=dummy"),
        )  # fmt: skip
        target = f'"127.0.0.1:{port}"'
        self._set(
            "--", "--id=@it", "create", "sflow", "agent=127.0.0.1", f"target={target}", "sampling=1",
            "--", "set", "bridge", "br0", "sflow=@it",
        )  # fmt: skip
        self._set(
            "--", "--id=@it", "create", "ipfix", f"targets={target}", "obs_domain_id=123", "sampling=1",
            "cache_active_timeout=1", "--", "set", "bridge", "br0", "ipfix=@it",
        )  # fmt: skip

    def receive(self, frames: list[bytes]) -> None:
        """Give frames to port p1; nobody has heard of their destination, so the switch floods them."""
        for frame in frames:
            self._run("ovs-appctl", "-t", str(self._folder / "control"), "netdev-dummy/receive", "p1", frame.hex())

    def stop(self) -> None:
        """End its processes."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(10)

    def _begin(self, *command: str) -> None:
        with (self._folder / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
            )

    def _set(self, *words: str) -> None:
        deadline = time.monotonic() + 5
        while not self._socket.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._run("ovs-vsctl", f"--db=unix:{self._socket}", "--timeout=10", *words)

    def _run(self, *command: str) -> None:
        subprocess.run(
            command, check=True, timeout=20, cwd=self._folder, env=self._environment, stdout=subprocess.DEVNULL
        )
