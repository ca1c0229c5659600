"""``flowtide simulate``: the simulated network alone, towards collectors of this machine or of a compose file."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from collector.sockets import BindError, parse_address
from flowtide.errors import Failure
from flowtide.replay_send import ReplayError, check_target
from flowtide.simulator.exporters import Sent, SimulatedNetwork
from flowtide.simulator.population import write_leases
from flowtide.stack import on_signals

_EVER = float("inf")


def run_simulate(
    to: str, rate: int, seconds: float | None, seed: int, leases: Path | None, *, allow_remote: bool
) -> list[Sent]:
    """Send until interrupted or for ``seconds``, and print what was sent; Failure."""
    stop = threading.Event()
    undo = on_signals(stop)
    try:
        targets = [_target(one, allow_remote=allow_remote) for one in to.split(",")]
        if leases is not None:
            _write(leases, seed)
        with _network(seed, rate, targets) as network:
            print(f"three exporters send NetFlow v9 and IPFIX to {to} (UDP); Ctrl-C stops", flush=True)
            _run(network, _EVER if seconds is None else seconds, stop)
            truth = network.truth()
    finally:
        undo()
    _print(truth)
    return truth


def _target(text: str, *, allow_remote: bool) -> tuple[str, int]:
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


def _write(leases: Path, seed: int) -> None:
    # Beside it first: a reader that looks meanwhile sees the whole file or none.
    beside = leases.with_name(f".{leases.name}.new")
    try:
        write_leases(beside, seed)
        beside.replace(leases)
    except OSError as error:
        raise Failure(f"{leases}: {error.strerror}; name a file in a folder that is there") from None


@contextlib.contextmanager
def _network(seed: int, rate: int, targets: Sequence[tuple[str, int]]) -> Iterator[SimulatedNetwork]:
    try:
        network = SimulatedNetwork(seed, rate, targets, utc_offset_seconds=time.localtime().tm_gmtoff)
    except OSError as error:
        raise Failure(f"nothing can be sent to {targets[0][0]}: {error.strerror}") from None
    try:
        yield network
    finally:
        network.close()


def _run(network: SimulatedNetwork, seconds: float, stop: threading.Event) -> None:
    try:
        network.run(seconds, stop)
    except OSError as error:
        raise Failure(f"sending failed: {error.strerror}; is there a way to the target?") from None


def _print(truth: Sequence[Sent]) -> None:
    """By exporter as a collector counts it: flows and octets as exported, and estimates."""
    print(f"{'exporter':<15}  {'sampling':>8}  {'flows':>12}  {'packets':>14}  {'octets':>16}")
    rows: dict[tuple[str, int], list[int]] = {}
    for sent in truth:
        row = rows.setdefault((sent.exporter, sent.sampling), [0, 0, 0])
        for at, value in enumerate((sent.flows, sent.packets, sent.octets)):
            row[at] += value
    for (exporter, sampling), (flows, packets, octets) in rows.items():
        print(f"{exporter:<15}  {sampling:>8}  {flows:>12,}  {packets:>14,}  {octets:>16,}")
    print(f"{'total':<15}  {'':>8}  {sum(row[0] for row in rows.values()):>12,}")
