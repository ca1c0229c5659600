"""A real Kafka broker, from its jars, without containers: one node, KRaft, loopback, its own folder."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
CACHE = Path("~/.cache/flowtide/kafka-libs").expanduser()
_HEAP = "256m"  # 8 MB messages need more than the 96 MB it starts with
_LARGEST = 16 << 20

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "num.partitions": "1",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.segment.bytes": "134217728",
    "log.cleaner.dedupe.buffer.size": "4194304",  # a small heap does not start without it
    "message.max.bytes": str(_LARGEST),
    "replica.fetch.max.bytes": str(_LARGEST),
    "socket.request.max.bytes": str(64 << 20),
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
}


class NoBroker(Exception):  # noqa: N818
    """This machine cannot run a broker; the text says what is missing."""


def fetch() -> Path:
    """The folder with the broker's jars: FLOWTIDE_KAFKA_LIBS, or fetched once through Maven (43 MB)."""
    named = os.environ.get("FLOWTIDE_KAFKA_LIBS")
    if named:
        if not any(Path(named).glob("kafka_*.jar")):
            raise NoBroker(f"no kafka_*.jar in FLOWTIDE_KAFKA_LIBS={named}")
        return Path(named)
    if shutil.which("java") is None:
        raise NoBroker("no java: install a JRE of version 17 or later")
    if not any(CACHE.glob("kafka_*.jar")):
        maven = shutil.which("mvn")
        if maven is None:
            raise NoBroker("no Kafka jars: set FLOWTIDE_KAFKA_LIBS, or install Maven")
        unfinished = CACHE.with_name(f"{CACHE.name}.{os.getpid()}")
        wanted = ["-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"]
        command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", *wanted]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise NoBroker(f"Maven could not fetch the Kafka jars: {done.stdout[-500:]}{done.stderr[-500:]}")
        if not CACHE.exists():
            unfinished.rename(CACHE)
    return CACHE


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """One node in a folder of its own; its ports stay the same over a restart."""

    def __init__(
        self, folder: Path, properties: Mapping[str, str] | None = None, listeners: Mapping[str, str] | None = None
    ) -> None:
        """``listeners``: more of them, name -> protocol; ``properties`` override those above."""
        self.folder, self.libs = folder, fetch()
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self.ports = {name: free_port() for name in (*protocols, "CONTROLLER")}
        hosts = {name: f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()}
        protocols["CONTROLLER"] = "PLAINTEXT"
        self.properties = {
            **PROPERTIES,
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['CONTROLLER']}",
            "listeners": ",".join(hosts.values()),
            "advertised.listeners": ",".join(url for name, url in hosts.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{value}" for name, value in protocols.items()),
            "log.dirs": str(folder / "data"),
            **(properties or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.add_scram: list[str] = []  # arguments of --add-scram, applied when the folder is formatted

    @property
    def address(self) -> str:
        """HOST:PORT of the plain listener."""
        return f"127.0.0.1:{self.ports['PLAINTEXT']}"

    @property
    def url(self) -> str:
        """The same as a setting ``bus.url``."""
        return f"kafka://{self.address}"

    def start(self, timeout_seconds: float = 60) -> "Broker":
        """Format the folder at the first start, and wait until the broker answers."""
        config = self.folder / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in self.properties.items()))
        if not (self.folder / "data" / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            scram = [word for user in self.add_scram for word in ("--add-scram", user)]
            # With the equals sign: an id may begin with a minus.
            words = ["format", f"--cluster-id={cluster}", "-c", str(config), *scram]
            self._java("kafka.tools.StorageTool", *words).wait(60)
        self.process = self._java("kafka.Kafka", str(config))
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the broker did not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nobody answers.  Returns when each of its threads has stopped."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{process.pid}/task")
        while any((each / "stat").read_text().rpartition(") ")[2][0] != "T" for each in threads.iterdir()):
            time.sleep(0.001)

    def thaw(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Stop and forget all messages; the ports stay."""
        self.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None, "the broker was not started"
        return self.process

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)  # a frozen one does not end
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.process = None

    def _answers(self) -> bool:
        # The broker opens its listeners only once it can serve them.
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.ports["PLAINTEXT"])) == 0

    def _java(self, *arguments: str) -> "subprocess.Popen[bytes]":
        words = ["java", f"-Xmx{_HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{self.libs}/*"]
        with self.log.open("ab") as log:
            return subprocess.Popen([*words, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                    cwd=self.folder)  # fmt: skip
