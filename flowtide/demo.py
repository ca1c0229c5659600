"""The main job on a bare machine: simulated exporters, the embedded stack, and what SQL says of it, live."""

import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clickhouse_connect
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.sockets import parse_address
from flowtide.settings import Settings
from flowtide.simulator.exporters import SimulatedNetwork
from flowtide.simulator.population import write_leases
from flowtide.stack import Addresses, Stack, on_signals

_DATA_BYTES = 2 << 30  # bound of the demo's directory: three quarters the store, one quarter the bus
_REFRESH_SECONDS = 1.0
_PLAIN_SECONDS = 5.0
_SEND_SECONDS = 0.05
_LAST_LOOK_SECONDS = 15.0

FLOWS = "SELECT count() AS flows, max(ts) AS newest FROM flowtide.flows WHERE copy != 1"
RATE = """
SELECT toInt64(round(count() / 10)) AS per_second FROM flowtide.flows
WHERE copy != 1 AND received >= now64(3) - INTERVAL 12 SECOND AND received < now64(3) - INTERVAL 2 SECOND
"""
BUCKETS = """
SELECT bucket, sum(octets_est) AS octets FROM flowtide.bucket_end_5m
WHERE time >= now() - INTERVAL 1 HOUR AND direction != 0 GROUP BY bucket ORDER BY octets DESC LIMIT 8
"""
# Q1 and Q2 as the traffic report defines them; no row when there is nothing to judge.
QUIC = """
SELECT scope,
    sumIf(octets_est, bucket = 'udp/443') / sum(octets_est) AS q1,
    sumIf(octets_est, bucket = 'udp/443') / sumIf(octets_est, bucket IN ('udp/443', 'tcp/443')) AS q2
FROM flowtide.bucket_end_5m ARRAY JOIN ['all', service] AS scope
WHERE time >= now() - INTERVAL 1 HOUR AND direction != 0
GROUP BY scope HAVING sum(octets_est) > 0 ORDER BY scope
"""
LOSSES = """
SELECT counter, sum(value) AS total FROM (
    SELECT counter, value FROM flowtide.stage_1m
    UNION ALL SELECT counter, value FROM flowtide.exporter_health_1m
) WHERE counter LIKE '%dropped%' OR counter LIKE '%held%' OR counter LIKE '%missed%' GROUP BY counter ORDER BY counter
"""
_EXAMPLE = "SELECT bucket, sum(octets_est) AS octets FROM bucket_1m GROUP BY bucket ORDER BY octets DESC FORMAT Pretty"


@dataclass(slots=True)
class Picture:
    """What SQL answered last."""

    flows: int = 0
    per_second: int = 0
    buckets: list[tuple[str, int]] = field(default_factory=list)
    quic: list[tuple[str, float, float]] = field(default_factory=list)
    losses: list[tuple[str, int]] = field(default_factory=list)
    trouble: str = ""  # why there is no newer picture


def run_demo(settings: Settings, seconds: float | None, rate: int, seed: int) -> bool:
    """Run until interrupted or for ``seconds``; whether flows became visible by SQL."""
    settings = _bounded(settings)
    stop = threading.Event()
    undo = on_signals(stop)
    stack = Stack(settings)
    picture = Picture()
    console = Console()
    try:
        targets = [("127.0.0.1", port) for port in stack.ports]
        network = SimulatedNetwork(seed, rate, targets, utc_offset_seconds=time.localtime().tm_gmtoff)
        write_leases(Path(settings.enricher.leases), seed)
        addresses = stack.start()
        _say_where(console, addresses, settings)
        sender = threading.Thread(target=_send, args=(network, stop), name="exporters", daemon=True)
        sender.start()
        _watch(console, addresses, stack, picture, stop, seconds)
        stop.set()
        sender.join()
        _look_once_more(addresses, picture)
    finally:
        stack.close()
        undo()
    console.print(f"\nstopped; {picture.flows:,} flows are in {settings.data.resolve()}", soft_wrap=True)
    again = "SELECT bucket, sum(octets_est) AS octets FROM bucket_1m GROUP BY bucket ORDER BY octets DESC"
    console.print(f'ask them again with: {sys.argv[0]} sql "{again}"', soft_wrap=True, markup=False)
    return picture.flows > 0


def look(address: str) -> Picture:
    """Ask the HTTP port; raises what clickhouse-connect raises."""
    host, port = parse_address(address.removeprefix("http://"))
    client: Any = clickhouse_connect.get_client(host=host, port=port)
    try:
        quic = client.query(QUIC).result_rows
        return Picture(
            flows=client.query(FLOWS).result_rows[0][0],
            per_second=client.query(RATE).result_rows[0][0],
            buckets=[(bucket, octets) for bucket, octets in client.query(BUCKETS).result_rows],
            quic=[(scope, q1, q2) for scope, q1, q2 in quic],
            losses=[(counter, total) for counter, total in client.query(LOSSES).result_rows],
        )
    finally:
        client.close()


def _bounded(settings: Settings) -> Settings:
    leases = settings.data / "demo-leases.csv"
    bus = settings.bus.model_copy(update={"max_bytes": min(settings.bus.max_bytes, _DATA_BYTES // 4)})
    store = settings.store.model_copy(update={"max_bytes": settings.store.max_bytes or _DATA_BYTES * 3 // 4})
    enricher = settings.enricher.model_copy(update={"leases": str(leases), "reload_seconds": 1.0})
    return settings.model_copy(update={"bus": bus, "store": store, "enricher": enricher})


def _send(network: SimulatedNetwork, stop: threading.Event) -> None:
    while not stop.wait(_SEND_SECONDS):
        network.send(time.time())
    network.close()


def _say_where(console: Console, addresses: Addresses, settings: Settings) -> None:
    listen = ", ".join(addresses.listen)
    console.print(f"simulated exporters send NetFlow v9 and IPFIX to {listen} (UDP)", soft_wrap=True)
    console.print(f"SQL over HTTP at {addresses.http}, for example:", soft_wrap=True)
    console.print(f"  curl '{addresses.http}/' --data-binary \"{_EXAMPLE}\"", soft_wrap=True, markup=False)
    console.print(f"data in {settings.data.resolve()}, at most 2 GB; Ctrl-C stops", soft_wrap=True)


def _watch(
    console: Console, addresses: Addresses, stack: Stack, picture: Picture, stop: threading.Event, seconds: float | None
) -> None:
    """Show the picture until the end: redrawn on a terminal, a few plain lines elsewhere."""
    began = time.monotonic()
    if console.is_terminal:
        with Live(_draw(picture, 0.0), console=console, refresh_per_second=2) as live:
            while not _over(stop, began, seconds, _REFRESH_SECONDS):
                stack.tend()
                _refresh(addresses, picture)
                live.update(_draw(picture, time.monotonic() - began))
        return
    while not _over(stop, began, seconds, _PLAIN_SECONDS):
        stack.tend()
        _refresh(addresses, picture)
        print(_plain(picture, time.monotonic() - began), flush=True)


def _over(stop: threading.Event, began: float, seconds: float | None, pause: float) -> bool:
    left = float("inf") if seconds is None else began + seconds - time.monotonic()
    return left <= 0 or stop.wait(min(pause, left))


def _refresh(addresses: Addresses, picture: Picture) -> None:
    """Ask again; while the store starts anew the last picture stays."""
    try:
        fresh = look(addresses.http)
    except Exception as error:  # the client raises many kinds, and none may end the demo
        picture.trouble = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return
    for name in fresh.__dataclass_fields__:
        setattr(picture, name, getattr(fresh, name))


def _look_once_more(addresses: Addresses, picture: Picture) -> None:
    """A short demo ends before the first rows are visible: give them a moment."""
    deadline = time.monotonic() + _LAST_LOOK_SECONDS
    _refresh(addresses, picture)
    while not (picture.flows and picture.quic) and time.monotonic() < deadline:
        time.sleep(0.5)
        _refresh(addresses, picture)
    print(_plain(picture, None), flush=True)


def _plain(picture: Picture, at: float | None) -> str:
    quic = "; ".join(f"{scope} Q1 {q1:.1%} Q2 {q2:.1%}" for scope, q1, q2 in picture.quic) or "no judgement yet"
    losses = ", ".join(f"{name} {total}" for name, total in picture.losses if total) or "none"
    buckets = ", ".join(f"{bucket} {_octets(octets)}" for bucket, octets in picture.buckets) or "none yet"
    lines = [
        f"{'at the end' if at is None else f'{at:5.0f} s'}: {picture.flows:,} flows, {picture.per_second:,} flows/s",
        f"  QUIC share (Q1 of all, Q2 of port 443): {quic}",
        f"  octets by lower port: {buckets}",
        f"  lost or held back: {losses}",
    ]
    return "\n".join([*lines, *([f"  {picture.trouble}"] if picture.trouble else [])])


def _draw(picture: Picture, at: float) -> Group:
    head = Text(f"{at:.0f} s   {picture.flows:,} flows   {picture.per_second:,} flows/s", style="bold")
    whole = sum(octets for _, octets in picture.buckets) or 1
    buckets = Table("lower port", "octets, last hour", "share", title="by lower-port bucket", title_justify="left")
    for bucket, octets in picture.buckets:
        buckets.add_row(bucket, _octets(octets), f"{octets / whole:.1%}")
    quic = Table("service", "Q1 of all", "Q2 of port 443", title="QUIC share (udp/443)", title_justify="left")
    for scope, q1, q2 in picture.quic:
        quic.add_row(scope, f"{q1:.1%}", f"{q2:.1%}")
    losses = Table("counter", "total", title="lost or held back", title_justify="left")
    for counter, total in picture.losses:
        losses.add_row(counter, f"{total:,}", style="red" if total else "")
    if not picture.losses:
        losses.add_row("none", "0")
    return Group(head, quic, buckets, losses, Text(picture.trouble, style="yellow"))


def _octets(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} PB"
