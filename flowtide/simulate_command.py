"""``flowtide simulate``: the simulated network alone, towards collectors of this machine or of a compose file."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from collector.sockets import BindError, parse_address
from flowtide.errors import Failure
from flowtide.replay_send import ReplayError, check_target
from flowtide.simulator.clock import SimClock
from flowtide.simulator.feeds import write_accounting, write_interfaces, write_lease_csv, write_lease_parquet
from flowtide.simulator.kea import write_kea4, write_kea6
from flowtide.simulator.line import Line
from flowtide.simulator.network import DATAGRAMS_PER_SECOND, Network
from flowtide.simulator.radius import Client, Record
from flowtide.simulator.radius_sessions import sessions
from flowtide.simulator.scenario import Scenario, ScenarioError, load_scenario
from flowtide.simulator.truth import Sent
from flowtide.stack import on_signals

RADIUS_SECRET = "FLOWTIDE_SIMULATE_RADIUS_SECRET"  # noqa: S105 - the name of the variable
_ENDLESS_DAYS = 32  # of a scenario without end: so long its leases are known
_INTERIM_SECONDS = 300

Target = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says; None: as the scenario has it."""

    scenario: str = "noc"
    to: str = ""
    seconds: float | None = None
    rate: int | None = None
    speed: float | None = None
    seed: int | None = None
    leases: Path | None = None
    feeds: Path | None = None
    truth: Path | None = None
    radius: str = ""
    most_datagrams: float = DATAGRAMS_PER_SECOND
    allow_remote: bool = False


def run_simulate(asked: Asked) -> list[Sent]:
    """Write the files, send until interrupted or over, and print what was sent; Failure."""
    scenario = _changed(_load(asked.scenario), asked)
    targets = [_target(one, allow_remote=asked.allow_remote) for one in asked.to.split(",")] if asked.to else []
    if not targets and not (asked.leases or asked.feeds):
        raise Failure("say --to HOST:PORT to send flows, or --leases FILE or --feeds FOLDER to write files")
    begin_ms = scenario.clock.begin_ms(int(time.time() * 1000))
    stop = threading.Event()
    undo = on_signals(stop)
    try:
        if scenario.flows.law == "line":
            return _line(scenario, targets, begin_ms, asked, stop)
        with _network(scenario, targets, begin_ms, allow_remote=asked.allow_remote) as network:
            _write(network, asked)
            if not targets:
                return []
            print(f"{_who(scenario)} to {asked.to} (UDP); Ctrl-C stops", flush=True)
            with _accounting(network, asked, stop):
                _run(network, asked, stop)
            sent = network.truth()
            if asked.truth is not None:
                with _told(asked.truth):
                    network.account.write(asked.truth)
    finally:
        undo()
    _print(sent)
    return sent


def _load(name: str) -> Scenario:
    try:
        return load_scenario(name)
    except ScenarioError as error:
        raise Failure(str(error)) from None


def _changed(scenario: Scenario, asked: Asked) -> Scenario:
    clock = {"speed": asked.speed} if asked.speed is not None else {}
    flows = {"per_second": float(asked.rate)} if asked.rate is not None else {}
    if flows and scenario.flows.law == "volumes":
        raise Failure("--rate: this scenario's flows are as many as its users' volumes need; use --speed")
    return scenario.model_copy(
        update={
            "seed": scenario.seed if asked.seed is None else asked.seed,
            "clock": scenario.clock.model_copy(update=clock),
            "flows": scenario.flows.model_copy(update=flows),
        }
    )


def _target(text: str, *, allow_remote: bool) -> Target:
    """Address and port of HOST:PORT; a name is looked up where other machines are allowed."""
    try:
        host, port = parse_address(text.strip())
    except BindError as error:
        raise Failure(str(error).replace("listen address", "target", 1)) from None
    if port == 0:
        raise Failure(f"target {text!r}: name the port a collector listens on, 2055 say")
    if allow_remote:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            # IPv4 where a name has both: collectors listen on 0.0.0.0 unless told otherwise.
            host = str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])
        except socket.gaierror as error:
            raise Failure(f"target {host} is not known: {error.strerror}; write its address") from None
    try:
        check_target(host, allow_remote)
    except ReplayError as error:
        raise Failure(str(error)) from None
    return host, port


@contextlib.contextmanager
def _network(scenario: Scenario, to: Sequence[Target], begin_ms: int, *, allow_remote: bool) -> Iterator[Network]:
    try:
        network = Network(scenario, to, begin_ms=begin_ms, allow_remote=allow_remote)
    except OSError as error:
        raise Failure(f"nothing can be sent to {to[0][0]}: {error.strerror}") from None
    except ValueError as error:
        raise Failure(f"scenario {scenario.title!r}: {error}") from None
    try:
        yield network
    finally:
        network.close()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; name a folder that is there") from None


def _write(network: Network, asked: Asked) -> None:
    """The files beside the flows: who held which address, and what accounting says."""
    if asked.leases is not None:
        with _told(asked.leases):
            write_lease_csv(asked.leases, network.leases)
    if asked.feeds is None:
        return
    folder, people, (begin_ms, end_ms) = asked.feeds, network.population, _span(network)
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lines = {
            "leases.csv": write_lease_csv(folder / "leases.csv", network.leases),
            "leases.parquet": write_lease_parquet(folder / "leases.parquet", network.leases),
            "kea4.csv": write_kea4(folder / "kea4.csv", network.leases, people, begin_ms, end_ms),
            "kea6.csv": write_kea6(folder / "kea6.csv", network.leases, people, begin_ms, end_ms),
            "accounting.csv": write_accounting(folder / "accounting.csv", people, _days(network)),
            "interfaces.csv": write_interfaces(folder / "interfaces.csv", network.scenario.exporters),
        }
    print(f"{folder}: " + ", ".join(f"{name} ({count:,} lines)" for name, count in lines.items()), flush=True)


def _span(network: Network) -> tuple[int, int]:
    """Begin and end, Unix milliseconds."""
    end = network.end_ms
    return network.begin_ms, network.begin_ms + _ENDLESS_DAYS * 86_400_000 if end is None else end


def _days(network: Network) -> list[date]:
    """The local days that it touches."""
    zone = ZoneInfo(network.scenario.clock.zone)
    first, last = (datetime.fromtimestamp(at / 1000, zone).date() for at in (_span(network)[0], _span(network)[1] - 1))
    return [first + timedelta(at) for at in range((last - first).days + 1)]


@contextlib.contextmanager
def _accounting(network: Network, asked: Asked, stop: threading.Event) -> Iterator[None]:
    """RADIUS beside the flows, by the same clock, where it is asked for."""
    if not asked.radius:
        yield
        return
    secret = os.environ.get(RADIUS_SECRET, "")
    if not secret:
        raise Failure(f"--radius: put the secret that server and client share into {RADIUS_SECRET}")
    to = _target(asked.radius, allow_remote=asked.allow_remote)
    client = Client(to, secret.encode(), allow_remote=asked.allow_remote)
    records = sessions(network.leases, network.population, *_span(network), _INTERIM_SECONDS)
    over = threading.Event()
    clock = SimClock(network.begin_ms, network.scenario.clock.speed)
    sender = threading.Thread(target=_send_records, args=(client, records, clock, (stop, over)), name="radius")
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()
        print(f"RADIUS: {client.unanswered} records had no answer, {client.retries} were repeated", flush=True)
        client.close()


def _send_records(
    client: Client, records: Iterator[Record], clock: SimClock, ends: tuple[threading.Event, threading.Event]
) -> None:
    stop, over = ends
    for record in records:
        while (wait := clock.seconds_until(record.at_ms)) > 0 and not stop.is_set() and not over.wait(min(wait, 0.2)):
            pass
        if stop.is_set() or over.is_set():
            return
        client.send(record)


def _run(network: Network, asked: Asked, stop: threading.Event) -> None:
    seconds = float("inf") if asked.seconds is None else asked.seconds
    try:
        network.run(stop, seconds, datagrams_per_second=asked.most_datagrams)
    except OSError as error:
        raise Failure(f"sending failed: {error.strerror}; is there a way to the target?") from None


def _line(scenario: Scenario, to: Sequence[Target], begin_ms: int, asked: Asked, stop: threading.Event) -> list[Sent]:
    """Datagrams built beforehand; there is no truth but the totals."""
    if asked.feeds or asked.truth or asked.radius or not to:
        raise Failure("law line: datagrams go round and round, there are no feeds and no truth; say --to HOST:PORT")
    try:
        line = Line(
            scenario.exporters, to, scenario.people, scenario.seed, begin_ms=begin_ms, zone=scenario.clock.zone,
            allow_remote=asked.allow_remote,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        raise Failure(f"scenario {scenario.title!r}: {error}") from None
    print(f"{_who(scenario)} to {asked.to} (UDP); Ctrl-C stops", flush=True)
    try:
        line.run(stop, float("inf") if asked.seconds is None else asked.seconds, scenario.flows.per_second)
        sent = [
            Sent(sender.source, "", plan.sampling, totals.flows, totals.packets, totals.octets)
            for plan, (sender, _) in zip(scenario.exporters, line.senders, strict=True)
            for totals in (sender.totals,)
        ]
    finally:
        line.close()
    _print(sent)
    return sent


def _who(scenario: Scenario) -> str:
    protocols = sorted({plan.protocol for plan in scenario.exporters})
    count = len(scenario.exporters)
    return f"{scenario.title}: {count} exporter{'s' * (count > 1)} send{'s' * (count == 1)} {', '.join(protocols)}"


def _print(truth: Sequence[Sent]) -> None:
    """By exporter as a collector counts it: flows and octets as exported."""
    print(f"{'exporter':<15}  {'sampling':>8}  {'flows':>12}  {'packets':>14}  {'octets':>16}")
    rows: dict[tuple[str, int], list[int]] = {}
    for sent in truth:
        row = rows.setdefault((sent.exporter, sent.sampling), [0, 0, 0])
        for at, value in enumerate((sent.flows, sent.packets, sent.octets)):
            row[at] += value
    for (exporter, sampling), (flows, packets, octets) in rows.items():
        print(f"{exporter:<15}  {sampling:>8}  {flows:>12,}  {packets:>14,}  {octets:>16,}")
    print(f"{'total':<15}  {'':>8}  {sum(row[0] for row in rows.values()):>12,}")
