"""Files about the users, read by the readers they are for, and Kea's by plain replay of its log."""

import csv
from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from collector.interfaces import read_interfaces
from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES
from enricher.sources.tables import read_leases
from flowtide.simulator import feeds
from flowtide.simulator.kea import COLUMNS4, COLUMNS6, write_kea4, write_kea6
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import ExporterPlan, PeoplePlan
from sinks.segments import written_beside

BEGIN = int(datetime(2024, 6, 3, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
PLAN = PeoplePlan(pppoe=40, ipoe=20, mobile=30, on_both=10)


@pytest.fixture(scope="module")
def population() -> Population:
    return populate(PLAN, 1)


@pytest.fixture(scope="module")
def leases(population: Population) -> Leases:
    return lease(PLAN, population, 1, BEGIN, BEGIN + 3 * DAY, "Asia/Tokyo")


def test_the_enricher_reads_the_leases(tmp_path: Path, leases: Leases, population: Population) -> None:
    path = tmp_path / "leases.csv"
    assert feeds.write_lease_csv(path, leases) == len(leases)
    seen = read_leases(path, 10**7)
    assert seen.since.tolist() == leases.since_ms.tolist()
    assert seen.until.tolist() == leases.until_ms.tolist()
    assert HELD in seen.until
    assert (seen.until < HELD).any()
    addresses = np.stack([seen.high, seen.low], axis=1).astype(">u8").view("u1").reshape(-1, 16)
    assert addresses.tolist() == leases.address.tolist()
    assert seen.bits.tolist() == leases.bits.tolist()
    for at in range(0, len(leases), 7):
        said = (
            SERVICES[seen.service[at]], SEGMENTS[seen.segment[at]], ACCESSES[seen.access[at]],
            seen.groups[seen.group[at]],
        )  # fmt: skip
        user = int(leases.user[at])
        assert said == population.labels_of(user)
        assert seen.subscribers[seen.subscriber[at]] == population.subscriber[user]
    assert [each.name for each in tmp_path.iterdir()] == ["leases.csv"]


def test_a_shared_address_has_its_ports(tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"shared": 50.0})
    shared = lease(plan, populate(plan, 1), 1, BEGIN, BEGIN + DAY, "UTC")
    feeds.write_lease_csv(tmp_path / "leases.csv", shared)
    feeds.write_lease_parquet(tmp_path / "leases.parquet", shared)
    with (tmp_path / "leases.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    ports = [(int(line["port_from"]), int(line["port_to"])) for line in lines]
    assert ports == list(zip(shared.port_from.tolist(), shared.port_to.tolist(), strict=True))
    assert any(first > 0 for first, _ in ports)
    table = pyarrow.parquet.read_table(tmp_path / "leases.parquet")
    assert table.column_names == list(lines[0])
    assert table["from"].cast("int64").to_pylist() == shared.since_ms.tolist()
    assert table["to"].null_count == np.count_nonzero(shared.until_ms == HELD) < len(shared)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_beside(path) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"file": "old"}


@pytest.mark.parametrize("name", ["accounting.csv", "accounting.parquet"])
def test_accounting_has_every_user_and_day(tmp_path: Path, population: Population, name: str) -> None:
    days = [date(2024, 6, 3), date(2024, 6, 4)]

    def octets(day: int) -> Any:
        return population.octets_a_day * (day + 1)

    path = tmp_path / name
    assert feeds.write_accounting(path, population, days, octets) == 2 * (20 + 6 + 30 + 22)
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
    else:
        lines = [
            {key: str(value) for key, value in row.items()} for row in pyarrow.parquet.read_table(path).to_pylist()
        ]
    assert tuple(lines[0]) == feeds.ACCOUNTING_COLUMNS
    users = {line["user"] for line in lines}
    assert len(users) == len(lines) / 2
    assert "fixed-000001-ipoe" in users  # beside PPPoE: another user of the same subscription
    for line in lines:
        user = population.name.index(line["user"])
        service, segment, access, _ = population.labels_of(user)
        expected = population.octets_a_day[user] * (2 if line["day"] == "2024-06-04" else 1)
        assert [int(line["in_octets"]), int(line["out_octets"])] == expected.tolist()
        assert (line["service"], line["segment"], line["access"]) == (service, segment, access)
        assert line["subscription"] == population.subscription[user]
        assert line["volume_source"] == "accounting"
        assert access in ("ipoe", "mobile")


def test_the_collector_reads_the_interfaces(tmp_path: Path) -> None:
    exporters = [ExporterPlan(source="127.0.0.11"), ExporterPlan(source="127.0.0.12")]
    lines = feeds.write_interfaces(tmp_path / "interfaces.csv", exporters)
    seen = read_interfaces(tmp_path / "interfaces.csv")
    assert len(seen) == lines
    assert {exporter for exporter, _ in seen} == {"127.0.0.11", "127.0.0.12"}
    assert (seen["127.0.0.11", 101].name, seen["127.0.0.11", 101].speed) == ("xe-1/0/0", 10**11)


def leased(population: Population) -> Leases:
    """By hand: one address goes from user 40 to 41 at noon of the day, one is held for long, and two prefixes."""
    people = population.of("fixed", ("ipoe",))[:2].tolist()
    held, noon = HELD, BEGIN + DAY // 2
    long_ago = BEGIN - 10 * DAY
    lines = [
        (people[0], "::ffff:198.18.0.7", 128, long_ago, noon),
        (people[1], "::ffff:198.18.0.7", 128, noon, held),
        (people[0], "2001:db8:1000:100::", 56, long_ago, held),
        (people[1], "2001:db8:1000:200::5", 128, BEGIN + DAY, held),
    ]
    user, address, bits, since, until = zip(*lines, strict=True)
    count = len(lines)
    packed = np.frombuffer(b"".join(ip_address(each).packed for each in address), "u1").reshape(count, 16)
    return Leases(
        population, np.array(user, "i4"), packed, np.array(bits, "u1"), np.zeros(count, "u2"),
        np.full(count, 65_535, "u2"), np.array(since, "i8"), np.array(until, "i8"),
    )  # fmt: skip


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [dict(zip(COLUMNS4 if "4" in path.name else COLUMNS6, line.rstrip("\n").split(","), strict=True))
                for line in file][1:]  # fmt: skip


def test_kea4_is_a_log_in_which_the_later_line_holds(tmp_path: Path, population: Population) -> None:
    path = tmp_path / "kea4.csv"
    written = write_kea4(path, leased(population), population, BEGIN, BEGIN + DAY, valid_seconds=7_200)
    assert path.read_text().splitlines()[0] == (
        "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id"
    )
    lines = lines_of(path)
    assert len(lines) == written
    noon = BEGIN // 1000 + 43_200
    first = [line for line in lines if int(line["expire"]) - int(line["valid_lifetime"]) < noon]
    # Renewed each hour; the last one before the file began is what a clean-up left of ten days.
    assert [int(line["expire"]) - 7_200 - BEGIN // 1000 for line in first] == [3_600 * at for at in range(-1, 12)]
    second = lines[len(first) :]
    assert [(line["valid_lifetime"], int(line["expire"]) - noon) for line in second] == [
        ("0", 0), *(("7200", 7_200 + 3_600 * at) for at in range(12)),
    ]  # fmt: skip
    assert second[0]["hwaddr"] == first[0]["hwaddr"] != second[1]["hwaddr"]
    users = population.of("fixed", ("ipoe",))
    for line, user in ((first[0], users[0]), (second[1], users[1])):
        context = line["user_context"].replace("&#x2c", ",")
        assert population.subscriber[user].encode().hex().upper() in context
        assert line["client_id"] == f"01:{line['hwaddr']}"
        assert context.startswith('{ "ISC": { "relay-agent-info": { "remote-id": "')


def test_kea6_has_prefixes_and_addresses(tmp_path: Path, population: Population) -> None:
    path = tmp_path / "kea6.csv"
    write_kea6(path, leased(population), population, BEGIN, BEGIN + 2 * DAY, valid_seconds=86_400)
    assert path.read_text().splitlines()[0] == (
        "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,"
        "hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id"
    )
    last = {line["address"]: line for line in lines_of(path)}
    said = {key: (line["lease_type"], line["prefix_len"], line["state"]) for key, line in last.items()}
    assert said == {"2001:db8:1000:100::": ("2", "56", "0"), "2001:db8:1000:200::5": ("0", "128", "0")}
    for line in last.values():
        assert line["duid"] == f"00:03:00:01:{line['hwaddr']}"
        assert int(line["pref_lifetime"]) < int(line["valid_lifetime"]) == 86_400


def test_replayed_the_log_says_who_holds_what(tmp_path: Path, leases: Leases, population: Population) -> None:
    """Of churning users as if they had DHCP: at the end of each file, against the leases themselves."""
    for hours in (5, 40, 71):
        end = BEGIN + hours * 3_600_000
        path = tmp_path / "kea4.csv"
        write_kea4(path, leases, population, BEGIN, end, access=("pppoe", "ipoe"), valid_seconds=7_200)
        held: dict[str, str] = {}
        for line in lines_of(path):
            if line["valid_lifetime"] == "0":
                del held[line["address"]]
            else:
                held[line["address"]] = line["hwaddr"]
        expected = {
            str(ip_network(f"{ip_address(leases.address[at].tobytes()[12:])}/32").network_address): int(leases.user[at])
            for at in range(len(leases))
            if leases.is_v4[at] and leases.since_ms[at] < end <= leases.until_ms[at]
            and population.labels_of(int(leases.user[at]))[0] == "fixed"
        }  # fmt: skip
        assert {address: int(mac.replace(":", "")[6:], 16) for address, mac in held.items()} == expected
