"""Grants as the engine reads them (it has no users to grant to), and the analysts' view on known rows."""

import pytest

from sinks import StoreRefused
from sinks.embedded import EmbeddedStore
from sinks.grants import grants_sql


def test_the_engine_reads_every_statement(engine: EmbeddedStore) -> None:
    code = "\n".join(line for line in grants_sql("flowtide").splitlines() if not line.startswith("--"))
    statements = [part.strip() for part in code.split(";") if part.strip()]
    assert len(statements) > 50
    for statement in statements:
        written = engine.query("SELECT formatQuerySingleLine({s:String}) AS sql", s=statement).to_pylist()
        assert written[0]["sql"].split()[0] == statement.split()[0]
    with pytest.raises(StoreRefused):
        engine.query("SELECT formatQuerySingleLine({s:String}) AS sql", s="GRANT SELECT ON flowtide.x noc")


def test_small_groups_are_left_out(store: EmbeddedStore) -> None:
    rows = ", ".join(
        f"('2026-09-21', {sub}, '{service}', 'personal', 'ipoe', {direction}, 1, 1, 10, 100, {1000 + sub})"
        for service, subscribers in (("fixed", 20), ("mobile", 19))
        for sub in range(1, subscribers + 1)
        for direction in (1, 2)
    )
    store.command(
        "INSERT INTO subscriber_1d (day, sub_id, service, segment, access, direction, flows, packets, packets_est,"
        f" octets, octets_est) VALUES {rows}"
    )
    # Parts not merged yet: a subscriber counts once.
    store.command("INSERT INTO subscriber_1d SELECT * FROM subscriber_1d WHERE service = 'mobile'")
    found = store.query("SELECT * EXCEPT (day) FROM v_groups_1d ORDER BY direction").to_pylist()
    octets = sum(1000 + sub for sub in range(1, 21))
    assert found == [
        {"service": "fixed", "segment": "personal", "access": "ipoe", "direction": way, "subscribers": 20, "flows": 20,
         "octets_est": octets, "packets_est": 200} for way in ("in", "out")
    ]  # fmt: skip
