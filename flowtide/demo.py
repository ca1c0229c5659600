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
from flowtide.children import Child
from flowtide.demo_history import DemoHistory, Written
from flowtide.demo_scenario import demo_leases, demo_scenario
from flowtide.settings import Settings
from flowtide.simulator.feeds import write_lease_csv
from flowtide.simulator.history import DAYS
from flowtide.simulator.network import Network
from flowtide.stack import Addresses, Stack, on_signals

_DATA_BYTES = 2 << 30  # bound of the demo's directory: three quarters the store, one quarter the bus
_REFRESH_SECONDS = 1.0
_PLAIN_SECONDS = 5.0
_SEND_SECONDS = 0.05
_LAST_LOOK_SECONDS = 15.0
_NOTE_SECONDS = 5.0  # how often it is noted up to when there are flows

FLOWS = """
SELECT countIf(received >= {since:DateTime64(3, 'UTC')}) AS live, count() - live AS before FROM flowtide.flows
WHERE copy != 1
"""
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

    flows: int = 0  # that arrived since the start
    before: int = 0  # history, and what earlier demos left
    per_second: int = 0
    buckets: list[tuple[str, int]] = field(default_factory=list)
    quic: list[tuple[str, float, float]] = field(default_factory=list)
    losses: list[tuple[str, int]] = field(default_factory=list)
    trouble: str = ""  # why there is no newer picture


def run_demo(settings: Settings, seconds: float | None, rate: int, seed: int, days: int = DAYS) -> bool:
    """Run until interrupted or for ``seconds``; whether live flows became visible by SQL.

    ``days``: so long a history a fresh directory gets.
    """
    settings = _bounded(settings)
    stop = threading.Event()
    undo = on_signals(stop)
    stack = Stack(settings)
    console = Console()
    try:
        targets = [("127.0.0.1", port) for port in stack.ports]
        since = int(time.time())
        scenario = demo_scenario(seed, rate, settings.timezone)
        leases = demo_leases(scenario, since)
        network = Network(scenario, targets, begin_ms=since * 1000, leases=leases, population=leases.population)
        write_lease_csv(Path(settings.enricher.leases), leases)
        history = DemoHistory(settings)
        written = history.write(days, seed, rate, since)  # before the collector has the log
        sender = threading.Thread(target=_send, args=(network, stack.collector, stop), name="exporters", daemon=True)
        sender.start()
        addresses = stack.start()
        _say_where(console, addresses, settings, written)
        watch = _Watch(addresses, stack, history, since)
        _show(console, watch, stop, seconds)
        stop.set()
        sender.join()
        watch.look_once_more()
    finally:
        stop.set()
        stack.close()
        undo()
    flows = watch.picture.flows + watch.picture.before
    console.print(f"\nstopped; {flows:,} flows are in {settings.data.resolve()}", soft_wrap=True)
    again = "SELECT bucket, sum(octets_est) AS octets FROM bucket_1m GROUP BY bucket ORDER BY octets DESC"
    console.print(f'ask them again with: {sys.argv[0]} sql "{again}"', soft_wrap=True, markup=False)
    return watch.picture.flows > 0


def look(address: str, since: int) -> Picture:
    """Ask the HTTP port; raises what clickhouse-connect raises.  Flows are live from ``since`` (Unix) on."""
    host, port = parse_address(address.removeprefix("http://"))
    client: Any = clickhouse_connect.get_client(host=host, port=port)
    try:
        quic = client.query(QUIC).result_rows
        live, before = client.query(FLOWS, parameters={"since": since}).result_rows[0]
        return Picture(
            flows=live,
            before=before,
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
    store = settings.store.model_copy(
        update={
            "max_bytes": settings.store.max_bytes or _DATA_BYTES * 3 // 4,
            # Nobody brings the demo a day's accounting: all volumes are of its flows.
            "volume_sources": settings.store.volume_sources or {"fixed/ipoe": "netflow", "mobile/mobile": "netflow"},
        }
    )
    enricher = settings.enricher.model_copy(update={"leases": str(leases), "reload_seconds": 1.0})
    return settings.model_copy(update={"bus": bus, "store": store, "enricher": enricher})


def _send(network: Network, collector: Child, stop: threading.Event) -> None:
    """From the moment the collector receives: what it decodes waits on the bus while the engine starts."""
    while not stop.is_set() and not collector.ready.wait(_SEND_SECONDS):
        pass  # a child that starts has another event
    while not stop.wait(_SEND_SECONDS):
        network.send(time.time())
    network.close()


def _say_where(console: Console, addresses: Addresses, settings: Settings, written: Written) -> None:
    if addresses.console:
        console.print(f"[bold]dashboards: {addresses.console}[/bold]", soft_wrap=True)
    listen = ", ".join(addresses.listen)
    console.print(f"simulated exporters send NetFlow v9 and IPFIX to {listen} (UDP)", soft_wrap=True)
    console.print(f"SQL over HTTP at {addresses.http}, for example:", soft_wrap=True)
    console.print(f"  curl '{addresses.http}/' --data-binary \"{_EXAMPLE}\"", soft_wrap=True, markup=False)
    console.print(_of_history(written), soft_wrap=True, markup=False)
    console.print(f"data in {settings.data.resolve()}, at most 2 GB; Ctrl-C stops", soft_wrap=True)


def _of_history(written: Written) -> str:
    if written.why_not:
        return f"no history is written: {written.why_not}"
    days = (written.until - written.since) / 86_400
    length = f"{days:.0f} days" if days >= 1 else f"{days * 24:.1f} hours"
    cut = "" if written.whole else ", then time or room was used up"
    return (
        f"history of {length}, {written.rows:,} rows that each stand for many flows, written in {written.seconds:.1f} s"
        f"{cut}; it is on the panels within a minute or two"
    )


class _Watch:
    """Looks by SQL, and keeps the stack running meanwhile."""

    def __init__(self, addresses: Addresses, stack: Stack, history: DemoHistory, since: int) -> None:
        self.picture = Picture()
        self._addresses, self._stack, self._history, self._since = addresses, stack, history, since
        self._noted = 0.0

    def look(self) -> Picture:
        """Ask again; while the store starts anew the last picture stays."""
        self._stack.tend()
        self._refresh()
        if time.monotonic() - self._noted >= _NOTE_SECONDS:
            self._history.covered(int(time.time()))
            self._noted = time.monotonic()
        return self.picture

    def look_once_more(self) -> None:
        """A short demo ends before the first rows are visible: give them a moment."""
        self._history.covered(int(time.time()))
        deadline = time.monotonic() + _LAST_LOOK_SECONDS
        self._refresh()
        while not (self.picture.flows and self.picture.quic) and time.monotonic() < deadline:
            time.sleep(0.5)
            self._refresh()
        print(_plain(self.picture, None), flush=True)

    def _refresh(self) -> None:
        try:
            self.picture = look(self._addresses.http, self._since)
        except Exception as error:  # the client raises many kinds, and none may end the demo
            self.picture.trouble = f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _show(console: Console, watch: _Watch, stop: threading.Event, seconds: float | None) -> None:
    """Show the picture until the end: redrawn on a terminal, a few plain lines elsewhere."""
    began = time.monotonic()
    if console.is_terminal:
        with Live(_draw(watch.picture, 0.0), console=console, refresh_per_second=2) as live:
            while not _over(stop, began, seconds, _REFRESH_SECONDS):
                live.update(_draw(watch.look(), time.monotonic() - began))
        return
    while not _over(stop, began, seconds, _PLAIN_SECONDS):
        print(_plain(watch.look(), time.monotonic() - began), flush=True)


def _over(stop: threading.Event, began: float, seconds: float | None, pause: float) -> bool:
    left = float("inf") if seconds is None else began + seconds - time.monotonic()
    return left <= 0 or stop.wait(min(pause, left))


def _plain(picture: Picture, at: float | None) -> str:
    quic = "; ".join(f"{scope} Q1 {q1:.1%} Q2 {q2:.1%}" for scope, q1, q2 in picture.quic) or "no judgement yet"
    losses = ", ".join(f"{name} {total}" for name, total in picture.losses if total) or "none"
    buckets = ", ".join(f"{bucket} {_octets(octets)}" for bucket, octets in picture.buckets) or "none yet"
    when = "at the end" if at is None else f"{at:5.0f} s"
    lines = [
        f"{when}: {picture.flows:,} flows, {picture.per_second:,} flows/s; {picture.before:,} rows of before",
        f"  QUIC share (Q1 of all, Q2 of port 443): {quic}",
        f"  octets by lower port: {buckets}",
        f"  lost or held back: {losses}",
    ]
    return "\n".join([*lines, *([f"  {picture.trouble}"] if picture.trouble else [])])


def _draw(picture: Picture, at: float) -> Group:
    head = Text(
        f"{at:.0f} s   {picture.flows:,} flows   {picture.per_second:,} flows/s   {picture.before:,} rows of before",
        style="bold",
    )
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
