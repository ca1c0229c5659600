"""Side by side with nfcapd and nfacctd: ``python -m bench.compare``, where nfdump and pmacct are installed.

The same load is sent to each in turn, several rounds, so that a machine that grows slower does so for all.  Counted is
what each says it has of what was sent, what the kernel dropped at its socket, the CPU of all of its processes, and the
most memory.  Flowtide writes decoded rows to its spool and flushes it once a second; nfcapd writes decoded records to
files, uncompressed, and flushes none; nfacctd aggregates by address, port, protocol, interface and the second of the
end, and writes CSV every ten seconds.  What is written is cut while it runs: the spool to eight segments of 64 MB,
nfcapd's files to two of ten seconds.

``--climb`` looks for the highest rate that a tool takes without loss, and confirms it for a minute.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_seconds, peak_bytes, tree
from sinks import RAW_STREAM, segments

REPOSITORY = Path(__file__).parents[1]
_BUFFER = 64 << 20
_KEPT = 4  # segments of each partition
_GROWTH = 1.25  # of the rate, a step
_SETTLE_SECONDS = 3.0  # until what was received is counted


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent; ``arguments`` of ``bench.load``."""

    text: str
    arguments: tuple[str, ...]


LOADS = {
    "v9": Load("NetFlow v9, 28 records", ("--kind", "v9", "--exporters", "8")),
    "variable": Load("IPFIX with a variable field, 18 records", ("--kind", "variable", "--exporters", "8")),
    "layouts": Load("100 exporters x 20 templates over 12 layouts, 10 records",
                    ("--kind", "layouts", "--exporters", "100")),
    "three": Load("the same, 3 records", ("--kind", "layouts", "--exporters", "100", "--records", "3")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run of one tool showed."""

    rate: float  # flows a second that were sent
    sent: int
    taken: int
    kernel_drops: int  # datagrams
    cpu: float  # seconds
    peak: int  # bytes, of all processes
    written: int  # bytes

    @property
    def cost(self) -> float:
        """CPU-seconds per million flows taken."""
        return self.cpu / max(self.taken, 1) * 1e6

    @property
    def lossless(self) -> bool:
        """Whether nothing is missing by anybody's count."""
        return self.taken == self.sent and not self.kernel_drops


class Tool(ABC):
    """A collector under test: started in a folder, stopped, asked what it has."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.process = self.start()
        self.written = 0
        self._stop = threading.Event()
        self._cutter = threading.Thread(target=self._cut_often, daemon=True)
        self._cutter.start()

    @abstractmethod
    def start(self) -> subprocess.Popen[bytes]:
        """Run it; returns once it listens."""

    @abstractmethod
    def taken(self) -> int:
        """Flows that it has; called once it has stopped, or for Flowtide before."""

    @abstractmethod
    def cut(self) -> None:
        """Delete what was written before the newest; adds to ``written``."""

    def close(self) -> int:
        """Stop it, and what it had of the load."""
        self._stop.set()
        self._cutter.join()
        end(self.process)
        self.cut()
        return self.taken()

    def _cut_often(self) -> None:
        while not self._stop.wait(1):
            self.cut()


class Flowtide(Tool):
    """``flowtide collect`` over the spool."""

    compression = "none"

    def start(self) -> subprocess.Popen[bytes]:
        """As ``Tool.start``."""
        telemetry = free_port(socket.SOCK_STREAM)
        self._metrics = f"http://127.0.0.1:{telemetry}/metrics"
        (self.folder / "settings.toml").write_text(
            f'data = "{self.folder}/data"\n[bus]\ncompression = "{self.compression}"\n[log]\nlevel = "error"\n'
            f'[collector]\ntelemetry = "127.0.0.1:{telemetry}"\n'
            f'[collector.receiver]\nlisten = ["127.0.0.1:{self.port}"]\n'
        )
        command = [sys.executable, "-m", "flowtide", "collect", "--config", str(self.folder / "settings.toml")]
        log = self.folder / "log"
        with log.open("wb") as written:
            process = subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT, cwd=REPOSITORY)
        wait(lambda: b"metrics:" in log.read_bytes(), process)
        self._cut: set[Path] = set()
        return process

    def cut(self) -> None:
        """As ``Tool.cut``: no reader is there to let the spool trim itself."""
        for folder in (self.folder / "data" / "bus" / RAW_STREAM).glob("[0-9]*"):
            for base in segments.bases(folder)[:-_KEPT]:
                path = segments.path_of(folder, base)
                self.written += path.stat().st_size
                path.unlink()

    def close(self) -> int:
        """As ``Tool.close``; its counters are asked for while it runs."""
        taken = self.taken()
        self._stop.set()
        self._cutter.join()
        end(self.process)
        self.written += sum(path.stat().st_size for path in (self.folder / "data" / "bus").rglob("*.log"))
        return taken

    def taken(self) -> int:
        """As ``Tool.taken``: rows that the spool accepted."""
        with urllib.request.urlopen(self._metrics, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith("collector_published_rows_total")))


class FlowtideLz4(Flowtide):
    """The same with LZ4."""

    compression = "lz4"


class Nfcapd(Tool):
    """nfcapd of nfdump, uncompressed."""

    _found = 0

    def start(self) -> subprocess.Popen[bytes]:
        """As ``Tool.start``."""
        (self.folder / "flows").mkdir()
        command = ["nfcapd", "-w", str(self.folder / "flows"), "-b", "127.0.0.1", "-p", str(self.port)]
        process = subprocess.Popen(
            [*command, "-B", str(_BUFFER), "-t", "10"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait(lambda: bound(self.port), process)
        return process

    def cut(self) -> None:
        """As ``Tool.cut``: of each file the number of flows is taken from its own head."""
        for path in sorted((self.folder / "flows").glob("nfcapd.2*")):
            told = subprocess.run(["nfdump", "-I", "-r", str(path)], check=True, capture_output=True, text=True).stdout
            flows = [int(line.split()[1]) for line in told.splitlines() if line.startswith("Flows:")]
            self._found += sum(flows)
            self.written += path.stat().st_size
            path.unlink()

    def taken(self) -> int:
        """As ``Tool.taken``."""
        return self._found


class Nfacctd(Tool):
    """nfacctd of pmacct, all that it can keep of a flow."""

    def start(self) -> subprocess.Popen[bytes]:
        """As ``Tool.start``."""
        (self.folder / "config").write_text(
            f"nfacctd_ip: 127.0.0.1\nnfacctd_port: {self.port}\nnfacctd_pipe_size: {_BUFFER}\n"
            f"plugin_pipe_size: {_BUFFER}\nplugin_buffer_size: 65536\nplugins: print\nprint_output: csv\n"
            "aggregate: src_host, dst_host, src_port, dst_port, proto, tos, in_iface, out_iface, timestamp_end, flows\n"
            "timestamps_secs: true\nprint_cache_entries: 1000003\nprint_refresh_time: 10\nprint_history: 10s\n"
            f"print_output_file: {self.folder}/out-%s.csv\n"
        )
        log = (self.folder / "log").open("wb")
        with log:
            process = subprocess.Popen(["nfacctd", "-f", str(self.folder / "config")], stdout=log, stderr=log)
        wait(lambda: bound(self.port), process)
        return process

    def cut(self) -> None:
        """As ``Tool.cut``: what it aggregated is small."""

    def taken(self) -> int:
        """As ``Tool.taken``."""
        found = 0
        for path in self.folder.glob("out-*.csv"):
            self.written += path.stat().st_size
            with path.open() as lines:
                found += sum(int(row["FLOWS"]) for row in csv.DictReader(lines))
        return found


TOOLS: dict[str, type[Tool]] = {
    "flowtide": Flowtide, "flowtide, LZ4": FlowtideLz4, "nfcapd": Nfcapd, "nfacctd": Nfacctd,
}  # fmt: skip


def trial(make: type[Tool], load: Load, rate: float, seconds: float) -> Trial:
    """Send a load to a fresh one."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port(socket.SOCK_DGRAM)
        tool = make(Path(folder), port)
        before = cpu_seconds(tree(tool.process.pid))
        told = send(port, load, rate, seconds)
        time.sleep(_SETTLE_SECONDS)
        pids = tree(tool.process.pid)
        cpu, peak, drops = cpu_seconds(pids) - before, peak_bytes(pids), kernel_drops(port)
        taken = tool.close()
        return Trial(told["flows"] / told["seconds"], int(told["flows"]), taken, drops, cpu, peak, tool.written)


def send(port: int, load: Load, rate: float, seconds: float) -> dict[str, float]:
    """Run ``bench.load``; what it sent."""
    command = [sys.executable, "-m", "bench.load", "--to", f"127.0.0.1:{port}", *load.arguments]
    command += ["--rate", str(rate), "--seconds", str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def climb(make: type[Tool], load: Load, seconds: float) -> Trial | None:
    """The highest rate without loss: found in steps of five seconds, confirmed for ``seconds``."""
    rate, last = 200_000.0, 0.0
    while rate < 20_000_000:
        found = trial(make, load, rate, 5)
        if not found.lossless or found.rate < 0.9 * rate:
            last = min(rate, found.rate)
            break
        rate *= _GROWTH
    for share in (0.95, 0.85, 0.75, 0.65, 0.55):
        found = trial(make, load, share * last, seconds)
        if found.lossless:
            return found
    return None


def free_port(kind: socket.SocketKind) -> int:
    """A port of the loopback that nobody has."""
    with socket.socket(socket.AF_INET, kind) as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


def bound(port: int) -> bool:
    """Whether a UDP socket has the port."""
    return any(True for _ in _sockets(port))


def kernel_drops(port: int) -> int:
    """Datagrams that the kernel dropped at the sockets of a port."""
    return sum(int(words[-1]) for words in _sockets(port))


def _sockets(port: int) -> Iterator[list[str]]:
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{port:04X}"):
            yield words


def wait(is_true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Until it holds; RuntimeError when the process ends, or after 30 seconds."""
    deadline = time.monotonic() + 30
    while not is_true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start")
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and wait."""
    process.send_signal(signal.SIGTERM if b"nfacctd" not in _name(process.pid) else signal.SIGINT)
    process.wait(60)


def _name(pid: int) -> bytes:
    return Path(f"/proc/{pid}/comm").read_bytes()


def versions() -> str:
    """Of the peers, as they say."""
    found = []
    for command in (["nfcapd", "-V"], ["nfacctd", "-V"]):
        if shutil.which(command[0]):
            told = subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()
            found.append(told[0])
    return "; ".join(found)


def spread(values: Sequence[float]) -> str:
    """Median, least and largest."""
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Flowtide, nfcapd and nfacctd")
    parser.add_argument("--loads", nargs="+", choices=tuple(LOADS), default=tuple(LOADS))
    parser.add_argument("--tools", nargs="+", choices=tuple(TOOLS), default=tuple(TOOLS))
    parser.add_argument("--rate", type=float, default=300_000, help="flows a second, the same for all")
    parser.add_argument("--seconds", type=float, default=10, help="of one trial; with --climb, of the confirmation")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--climb", action="store_true", help="look for the highest rate without loss")
    arguments = parser.parse_args()
    tools = {name: TOOLS[name] for name in arguments.tools if name.startswith("flowtide") or shutil.which(name)}
    print(f"{os.cpu_count()} cores; {versions()}")
    if arguments.climb:
        print("| load | tool | flows/s for so long without loss | CPU-s per M | peak MB |\n|---|---|---|---|---|")
        for load in (LOADS[name] for name in arguments.loads):
            for name, make in tools.items():
                best = climb(make, load, arguments.seconds)
                told = f"{best.rate:,.0f} | {best.cost:.3f} | {best.peak / 1e6:.0f}" if best else "none found | |"
                print(f"| {load.text} | {name} | {told} |", flush=True)
        return
    print("| load | tool | flows/s | taken of sent | CPU-s per M: median, range | flows per CPU-s "
          "| times nfcapd's | peak MB | octets a flow |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for load in (LOADS[name] for name in arguments.loads):
        rounds: dict[str, list[Trial]] = {name: [] for name in tools}
        for _ in range(arguments.rounds):
            for name, make in tools.items():
                rounds[name].append(trial(make, load, arguments.rate, arguments.seconds))
        for name, found in rounds.items():
            # Of the same round, so that a slower hour of the machine is in both.
            peers = rounds.get("nfcapd", found)
            ratio = statistics.median(peer.cost / own.cost for own, peer in zip(found, peers, strict=True))
            median = statistics.median
            taken, sent = (sum(getattr(each, what) for each in found) for what in ("taken", "sent"))
            cells = (
                load.text, name, f"{median(each.rate for each in found):,.0f}", f"{taken / sent:.2%}",
                spread([each.cost for each in found]), f"{1e6 / median(each.cost for each in found):,.0f}",
                f"{ratio:.2f}", f"{max(each.peak for each in found) / 1e6:.0f}",
                f"{median(each.written / max(each.taken, 1) for each in found):.0f}",
            )  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
