"""Flows of a week whose every octet is known, and their way through enrichment and rollups into a store, in process.

PPPoE users on addresses of which some change hands in the week, one of them between two users; the flow's own time says
whose it is.  Nothing here is sampled unless ``sampled`` says so.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enricher.enrichment import Tables, enrich
from enricher.leases import LeaseTable
from enricher.sources.tables import parse_leases
from enricher.subscribers import sub_ids
from sinks import Store
from sinks.batch import Batch
from sinks.rollup_tables import of_offsets, statement
from sinks.schema import FLOW, RAW, SamplingSource
from tests.stored import TIMEZONE, table

KEY = b"another key of thirty-two octets"
MONDAY = date(2024, 6, 3)
SINCE = int(datetime(2024, 6, 2, 15, tzinfo=UTC).timestamp()) * 1000  # midnight in Tokyo
WEEK_MS = 7 * 86_400_000
USERS, FLOWS = 240, 30_000
ARRIVED_MS = WEEK_MS * 40  # behind their ends: nothing may depend on it
ROLLUPS = ("bucket_1h", "port_1h", "port_1d", "subscriber_1d")
_SERVER = 0xCB00_7100  # 203.0.113.0
_FIRST = 0x0A00_0000  # 10.0.0.0
_SERVICE_PORTS = np.array([443, 80, 22, 8_080, 31_000, 1_023, 1_024, 0])


@dataclass(frozen=True)
class Known:
    """Flows with their truth."""

    user: NDArray[np.int64]
    direction: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    octets_a_packet: NDArray[np.int64]
    packets: NDArray[np.int64]
    proto: NDArray[np.int64]
    ours_port: NDArray[np.int64]  # of the subscriber
    far_port: NDArray[np.int64]
    changed_ms: int  # from then on a tenth of the users have other addresses
    sampling: int = 1  # as it is declared

    @property
    def octets(self) -> NDArray[np.int64]:
        """Of each flow."""
        return self.octets_a_packet * self.packets

    def by_user(self) -> dict[tuple[int, int], int]:
        """Octets by subscriber id and direction."""
        ids = sub_ids(KEY, [("fixed", f"u{user}", "pppoe") for user in range(USERS)]).tolist()
        found: dict[tuple[int, int], int] = {}
        for user, way, octets in zip(self.user.tolist(), self.direction.tolist(), self.octets.tolist(), strict=True):
            found[ids[user], way] = found.get((ids[user], way), 0) + octets
        return found

    def total(self, direction: int) -> int:
        """Octets."""
        return int(self.octets[self.direction == direction].sum())

    def variance(self, direction: int, interval: int) -> float:
        """Of an estimate from one packet in ``interval``, each packet taken by itself."""
        own = self.direction == direction
        return float((self.packets * self.octets_a_packet.astype("f8") ** 2)[own].sum() * (interval - 1))


def known(seed: int = 5) -> Known:
    """Some ten thousand."""
    random = np.random.default_rng(seed)
    proto = random.choice([6, 17, 50], FLOWS, p=[0.6, 0.35, 0.05])
    service = random.choice(_SERVICE_PORTS, FLOWS)
    far = np.where(proto == 50, 0, service)
    ours = np.where(proto == 50, 0, random.choice([443, *range(1_024, 65_536, 977)], FLOWS))
    return Known(
        user=random.integers(0, USERS, FLOWS), direction=random.integers(1, 3, FLOWS),
        end_ms=SINCE + random.integers(0, WEEK_MS, FLOWS), octets_a_packet=random.integers(64, 1_500, FLOWS),
        packets=np.ceil(random.pareto(1.3, FLOWS) * 30).astype("i8") + 1, proto=proto, ours_port=ours, far_port=far,
        changed_ms=SINCE + WEEK_MS // 2 + 12_000,
    )  # fmt: skip


def sampled(flows: Known, interval: int, declared: int, seed: int = 3) -> Known:
    """What an exporter that takes one packet in ``interval`` sees of them, and what it says it takes."""
    seen = np.random.default_rng(seed).binomial(flows.packets, 1 / interval)
    kept = {
        name: getattr(flows, name)[seen > 0]
        for name in ("user", "direction", "end_ms", "octets_a_packet", "proto", "ours_port", "far_port")
    }
    return replace(flows, packets=seen[seen > 0], sampling=declared, **kept)


def leases(flows: Known) -> LeaseTable:
    """Of the tenth: each takes the address of the next of them, so that every one of these addresses is used again."""
    moved = list(range(0, USERS, 10))
    lines = ["prefix,from,to,subscriber,group,service,segment,access"]
    when = flows.changed_ms // 1000

    def lease(address: int, since: str, until: str, user: int) -> str:
        text = ".".join(str(each) for each in (_FIRST + address).to_bytes(4, "big"))
        return f"{text}/32,{since},{until},u{user},,fixed,personal,pppoe"

    for user in range(USERS):
        if user not in moved:
            lines.append(lease(user, "0", "", user))
            continue
        lines.append(lease(user, "0", str(when), user))
        lines.append(lease(_address_after(user), str(when), "", user))
    return LeaseTable.of(parse_leases("\n".join([*lines, ""]).encode(), Path("leases.csv")), KEY)


def _address_after(user: int) -> int:
    return user if user % 10 else (user + 10) % USERS


def raw(flows: Known, *, swapped: bool = False) -> Batch:
    """As a collector decodes them; ``swapped``: both ports of each flow exchanged, addresses kept."""
    count = len(flows.user)
    batch = Batch.empty(RAW, count)
    batch.labels["exporter"], batch.labels["collector"] = ("192.0.2.1",), ("c1",)
    columns = batch.columns
    later = flows.end_ms >= flows.changed_ms
    address = np.where(later, np.array([_address_after(user) for user in range(USERS)])[flows.user], flows.user)
    ours, far = _mapped(_FIRST + address), _mapped(_SERVER + flows.user % 200)
    up = flows.direction == 1
    columns["src_addr"], columns["dst_addr"] = np.where(up, ours, far), np.where(up, far, ours)
    source = up != swapped
    columns["src_port"] = np.where(source, flows.ours_port, flows.far_port).astype("u2")
    columns["dst_port"] = np.where(source, flows.far_port, flows.ours_port).astype("u2")
    columns["ts"], columns["ts_start"] = (flows.end_ms - lasts for lasts in (0, 1_500))
    columns["received"] = flows.end_ms + ARRIVED_MS
    for name in ("ts", "ts_start", "received"):
        columns[name] = columns[name].astype("M8[ms]")
    columns["proto"], columns["ip_version"] = flows.proto.astype("u1"), np.full(count, 4, "u1")
    columns["octets"], columns["packets"] = flows.octets, flows.packets
    columns["sampling"] = np.full(count, flows.sampling, "u4")
    columns["sampling_source"] = np.full(count, SamplingSource.RECORD, "u1")
    return batch


def _mapped(addresses: NDArray[np.int64]) -> NDArray[np.void]:
    """IPv4 in 16 bytes."""
    octets = np.zeros((len(addresses), 16), "u1")
    octets[:, 10:12] = 255
    octets[:, 12:] = addresses.astype(">u4").view("u1").reshape(-1, 4)
    return octets.reshape(-1).view("V16")


def put(store: Store, batch: Batch, table_of: LeaseTable, change: Callable[[Batch], None] = lambda _: None) -> None:
    """Enrich, insert and roll up; ``change`` may spoil what was enriched."""
    enriched = enrich([batch], Tables(table_of)).batch
    change(enriched)
    columns: dict[str, Any] = {c.name: np.zeros(len(enriched), c.numpy) for c in FLOW if c.stage == "insert"}
    order = np.argsort(enriched.columns["ts"], kind="stable")  # a message spans few days: an insert has few partitions
    whole = Batch(enriched.columns | columns, enriched.labels).take(order)
    store.insert("flows", table(whole), token="flows/0")
    for name in ROLLUPS:
        store.command(statement(name, of_offsets(0, 0, 1), TIMEZONE), token=f"{name}/0")


def attributed(store: Store) -> dict[tuple[int, int], int]:
    """Octets by subscriber id and direction, as the store has them."""
    rows = store.query(
        "SELECT sub_id, direction, sum(octets_est) AS octets FROM subscriber_1d GROUP BY sub_id, direction"
    ).to_pylist()
    return {(row["sub_id"], row["direction"]): row["octets"] for row in rows}
