"""A store with a few subscribers in every table that has ids, and what a change of the key must make of it."""

import hashlib
import hmac
from typing import Any

import numpy as np

from sinks import Store
from sinks.rollup_tables import of_offsets, statement
from sinks.subscribers import BY_ID
from tests.stored import START_MS, TIMEZONE, flows, table

USERS = [("fixed", "s1", "pppoe"), ("fixed", "s1", "ipoe"), ("mobile", "0901", "mobile"), ("fixed", "gone", "ipoe")]
"""The last is known to nobody."""
DAY_MS = 86_400_000


def id_of(key: bytes, service: str, subscriber: str, access: str) -> int:
    """By its definition."""
    text = "\0".join((service, subscriber) if service == "mobile" else (service, subscriber, access))
    return int.from_bytes(hmac.new(key, text.encode(), hashlib.sha256).digest()[:8], "big")


def id_of_unknown(key: bytes, before: int) -> int:
    """Of an id of which nobody knows whose it is."""
    text = b"\xff\0former id\0" + before.to_bytes(8, "big")
    return int.from_bytes(hmac.new(key, text, hashlib.sha256).digest()[:8], "big")


def fill(store: Store, key: bytes) -> None:
    """Rows of these users and of nobody, on two days and in several parts."""
    ids = [id_of(key, *user) for user in USERS] + [0]
    for part in range(3):
        of_rows = np.array([ids[at % 5] for at in range(200)], "u8")
        batch = flows(200, START_MS + part * DAY_MS // 2, sub_id=of_rows, octets_est=np.arange(200) + part,
                      direction=1 + np.arange(200) % 2, bus_offset=part)  # fmt: skip
        store.insert("flows", table(batch), token=f"{key.hex()}/{part}")
        store.command(statement("subscriber_1d", of_offsets(0, part, part + 1), TIMEZONE), token=f"{key.hex()}/{part}")
    for at, number in enumerate(ids[:4]):
        service, name, access = USERS[at]
        for made in (1, 2):
            store.command(f"INSERT INTO accounting_1d (day, source, made, sub_id, in_octets) VALUES"
                          f" ('2026-09-2{made}', 's', {made}, {number}, {at + 10})")  # fmt: skip
            store.command(f"INSERT INTO subscriber_seen_1d (day, sub_id, service, access, made) VALUES"
                          f" ('2026-09-21', {number}, '{service}', '{access}', {made})")  # fmt: skip
        if at < 3:
            store.command(f"INSERT INTO subscriber_name (sub_id, service, subscriber, access, since) VALUES"
                          f" ({number}, '{service}', '{name}', '{access}', 1)")  # fmt: skip


def contents(store: Store) -> dict[str, dict[int, Any]]:
    """By table, what there is of each id."""
    wanted = {
        "flows": "count(), sum(octets), sum(octets_est), sum(direction), min(ts), max(ts), uniqExact(bus_offset)",
        "subscriber_1d": "sum(flows), sum(octets), sum(octets_est), uniqExact(day, direction)",
        "accounting_1d": "count(), sum(in_octets), uniqExact(day, made)",
        "subscriber_seen_1d": "uniqExact(day, service, access), max(made), any(service)",
        "subscriber_name": "uniqExact(service, subscriber, access), any(service), any(subscriber), any(access)",
    }
    assert set(wanted) == set(BY_ID)
    found = {}
    for name, values in wanted.items():
        rows = store.query(f"SELECT sub_id, toString(({values})) AS v FROM {name} GROUP BY sub_id").to_pylist()
        found[name] = {int(row["sub_id"]): row["v"] for row in rows}
    return found


def under(found: dict[str, dict[int, Any]], before: bytes, after: bytes) -> dict[str, dict[int, Any]]:
    """The same contents under another key, ``gone`` as it was made by ``fill`` under ``before``."""
    ids = {0: 0} | {id_of(before, *user): id_of(after, *user) for user in USERS[:3]}
    return {
        name: {ids[number] if number in ids else id_of_unknown(after, number): values
               for number, values in rows.items()} for name, rows in found.items()
    }  # fmt: skip
