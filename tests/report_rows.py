"""Further rows of a week in a store, as something that must count, or must not."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dashboards.report.model import Week
from sinks import Store
from sinks.accounting import put_day
from sinks.accounting_file import DayVolumes


def add_flows(
    store: Store, week: Week, octets: Sequence[int], *, access: str, segment: str = "personal", proto: int = 6,
    port: int = 8_080, bucket: str = "tcp/>=1024", direction: int = 2, first_id: int = 1, service: str = "fixed",
    name: str = "more",
) -> None:  # fmt: skip
    """Octets of the week of each of some users, told by flows: every day and hour has a part, to the octet."""
    days, hours = len(week.days), len(week.hours)
    labels = {"service": service, "segment": segment, "access": access}
    parts = [_parted(each, days) for each in octets]
    of_users = {
        "day": pa.array([day for day in week.days for _ in octets], pa.date32()),
        "sub_id": pa.array([first_id + at for _ in week.days for at in range(len(octets))], pa.uint64()),
        **_measures([part[at] for at in range(days) for part in parts]),
    }  # fmt: skip
    _insert(store, "subscriber_1d", of_users, labels, direction, name)
    in_hours = _parted(sum(octets), hours)
    # A flow is in one day and hour; the users' days are parts of the same octets.
    ports = {
        "ip_version": pa.array([4] * hours, pa.uint8()), "proto": pa.array([proto] * hours, pa.uint8()),
        "lower_port": pa.array([port] * hours, pa.uint16()), "bucket": pa.array([""] * hours), **_measures(in_hours),
    }  # fmt: skip
    begins = week.hours
    _insert(store, "port_1h", {"hour": pa.array(begins.astype("u4")), **ports}, labels, direction, name)
    local = [week.days[min(at // 24, days - 1)] for at in range(hours)]
    _insert(store, "port_1d", {"day": pa.array(local, pa.date32()), **ports}, labels, direction, name)
    buckets = {
        "time": pa.array(begins.astype("u4")), "exporter": pa.array(["192.0.2.1"] * hours),
        "sub_group": pa.array([""] * hours), "ip_version": pa.array([4] * hours, pa.uint8()),
        "bucket": pa.array([bucket] * hours), **_measures(in_hours),
    }  # fmt: skip
    _insert(store, "bucket_1h", buckets, labels, direction, name)


def add_accounting(
    store: Store, week: Week, users: Sequence[tuple[str, int, int]], *, access: str, service: str = "fixed",
    segment: str = "personal", source: str = "another",
) -> None:  # fmt: skip
    """A set a day of users, each with its name and octets a day IN and OUT; as the daily import puts it."""
    ids = np.array([1 << 40 | int.from_bytes(name.encode()[-4:]) for name, _, _ in users], "u8")
    for day in week.days:
        volumes = DayVolumes(day)
        for name, sent, received in users:
            volumes.add((service, name, access), segment, sent, received)
        put_day(store, volumes, source, lambda _: ids, 1_720_000_000.0)


def copy_rows(store: Store, table: str, where: str, change: str = "") -> None:
    """Rows of a table once more; ``change``: as "REPLACE(...)" of SQL."""
    store.command(f"INSERT INTO {table} SELECT * {change} FROM {table} WHERE {where}")


def drop_rows(store: Store, table: str, where: str) -> None:
    """Without waiting for merges: what is read next does not have them."""
    store.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2")


def _insert(
    store: Store, table: str, columns: dict[str, pa.Array], labels: dict[str, str], direction: int, name: str
) -> None:
    rows = pa.table(columns)
    for label, value in labels.items():
        rows = rows.append_column(label, pa.array([value] * rows.num_rows))
    rows = rows.append_column("direction", pa.array([direction] * rows.num_rows, pa.uint8()))
    store.insert(table, rows, token=f"{name}/{table}")


def _measures(octets: Sequence[int]) -> dict[str, pa.Array]:
    told, packets = pa.array(octets, pa.int64()), pa.array([-(-each // 1_000) for each in octets], pa.int64())
    return {"flows": packets, "packets": packets, "packets_est": packets, "octets": told, "octets_est": told}


def _parted(whole: int, count: int) -> list[int]:
    return [whole * (at + 1) // count - whole * at // count for at in range(count)]
