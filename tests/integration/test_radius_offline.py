"""The journal of a listener that does not run: whom it names, and a subscriber taken out of it."""

from dataclasses import replace
from pathlib import Path

from enricher.radius.offline import erase, users_of
from enricher.radius.source import RadiusSource
from flowtide.simulator.radius import Client, Record, Status
from tests.integration.test_radius import chosen, leases, records
from tests.unit.test_radius_packet import SECRET


def filled(folder: Path) -> list[Record]:
    """Three users; user-2 has taken over the address of user-0, which said no Stop."""
    source = RadiusSource(chosen(), folder)
    client = Client(source.address, SECRET)
    first, second, third = records(3)
    third = replace(third, ipv4=first.ipv4)
    for each in (first, second, third):
        assert client.send(each)
        assert client.send(replace(each, status=Status.INTERIM, in_octets=500, out_octets=600, seconds=0))
    client.close()
    source.close()
    return [first, second, third]


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_whom_the_journal_names(tmp_path: Path) -> None:
    assert users_of(chosen(), tmp_path / "none", "UTC") == set() and not (tmp_path / "none").exists()
    filled(tmp_path)
    assert users_of(chosen(), tmp_path, "UTC") == {("fixed", f"user-{at}", "pppoe") for at in range(3)}


def test_a_subscriber_is_gone_from_the_journal_and_nobody_has_its_address_instead(tmp_path: Path) -> None:
    first, _, third = filled(tmp_path)
    before = files(tmp_path)
    assert erase(chosen(), tmp_path, "UTC", "user-2", dry_run=True).sessions == 1
    assert files(tmp_path) == before
    assert erase(chosen(), tmp_path, "UTC", "user-2").sessions == 1
    assert b"user-2" not in files(tmp_path) and b"user-1" in files(tmp_path)
    assert [path.suffix for path in tmp_path.glob("*.snapshot")] == [".snapshot"]
    source = RadiusSource(chosen(), tmp_path)
    found = leases(source)
    # user-0's lease ends where the one that was erased began: its traffic is not given to another.
    assert found[first.ipv4] == (first.at_ms // 1000 * 1000, third.at_ms // 1000 * 1000, "user-0")
    assert {who for _, _, who in found.values()} == {"user-0", "user-1"}
    assert {each.subscriber: each.out_octets for each in source.usage()} == {"user-0": 600, "user-1": 600}
    # Who goes on has a lease again, and no octets of before.
    client = Client(source.address, SECRET)
    assert client.send(
        replace(third, at_ms=third.at_ms + 1000, status=Status.INTERIM, in_octets=500, out_octets=607, seconds=1)
    )
    client.close()
    assert {each.subscriber: each.out_octets for each in source.usage()} == {"user-0": 600, "user-1": 600, "user-2": 7}
    source.close()
    assert erase(chosen(), tmp_path, "UTC", "user-9") == erase(chosen(), tmp_path / "none", "UTC", "user-1")
