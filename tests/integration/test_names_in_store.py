"""networks.csv in the store: longest prefix, replaced as a whole, asked by readers."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.migrations import migrate
from sinks.names import Network, NetworkFile, NetworkSet, put_networks, read_networks
from sinks.settings import HttpSettings
from tests.stored import FOR_EVER, TIMEZONE


@pytest.fixture(scope="module")
def named(engine: EmbeddedStore) -> EmbeddedStore:
    store = engine.in_database("named")
    migrate(store, FOR_EVER, TIMEZONE)
    return store


def name(store: EmbeddedStore, address: str) -> object:
    return store.query("SELECT network_of(toIPv6({a:String})) AS n", a=address).column("n")[0].as_py()


prefix = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(1, 32)), st.tuples(st.ip_addresses(v=6, network="2001:db8::/32"),
                                                                   st.integers(16, 128))
).map(lambda pair: ipaddress.ip_network(pair, strict=False))  # fmt: skip


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(networks=st.lists(prefix, min_size=1, max_size=20, unique=True), data=st.data())
def test_the_longest_prefix_names_an_address(
    named: EmbeddedStore, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], data: st.DataObject
) -> None:
    rows = tuple(Network(str(each), 0, f"name of {each}", "") for each in networks)
    put_networks(named, NetworkSet(rows, repr(rows)), 0.0)
    asked = [each[data.draw(st.integers(0, each.num_addresses - 1))] for each in networks]
    asked += data.draw(st.lists(st.ip_addresses(v=4), max_size=5))
    found = named.query(
        "SELECT network_of(toIPv6(a)) AS n FROM (SELECT arrayJoin({all:Array(String)}) AS a)", all=[*map(str, asked)]
    )
    for address, got in zip(asked, found.column("n").to_pylist(), strict=True):
        around = [each for each in networks if each.version == address.version and address in each]
        longest = max(around, key=lambda each: each.prefixlen, default=None)
        assert got == (f"name of {longest}" if longest else ""), address


def test_a_set_replaces_the_one_before_and_the_newest_file_is_known(named: EmbeddedStore, tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text("prefix,asn,name\n192.0.2.0/24,,one\n,AS64500,two\n")
    assert put_networks(named, read_networks(path), 1.0)
    assert not put_networks(named, read_networks(path), 2.0)
    assert name(named, "192.0.2.1") == "one"
    assert named.query("SELECT network_of_as(64500) AS n").to_pylist() == [{"n": "two"}]
    path.write_text("prefix,name\n198.51.100.0/24,three\n")
    # A clock that was set back does not bring back the old set.
    assert put_networks(named, read_networks(path), 0.5)
    assert (name(named, "192.0.2.1"), name(named, "198.51.100.1")) == ("", "three")
    path.write_text("prefix,name\n")
    assert put_networks(named, read_networks(path), 3.0)
    assert name(named, "198.51.100.1") == ""
    assert named.query("SELECT * FROM v_network_prefixes").num_rows == 0


def test_a_bad_file_leaves_the_last_good_one(named: EmbeddedStore, tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    watched = NetworkFile(named, path, every_seconds=10)
    watched.tend(0)
    assert watched.failed is not None and "No such file" in watched.failed
    path.write_text("prefix,name\n192.0.2.0/24,good\n")
    watched.tend(5)  # not yet due
    assert watched.failed is not None
    watched.tend(10)
    assert watched.failed is None
    assert name(named, "192.0.2.1") == "good"
    path.write_text("prefix,name\n192.0.2.0/24,better\n192.0.2.1/24,wrong\n")
    watched.tend(1e10)
    assert watched.failed is not None and "line 3" in watched.failed
    assert name(named, "192.0.2.1") == "good"
    path.write_text("prefix,name\n192.0.2.0/24,better\n")
    watched.tend(2e10)
    assert watched.failed is None
    assert name(named, "192.0.2.1") == "better"


def test_readers_ask_for_names_and_cannot_make_a_dictionary(named: EmbeddedStore) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    put_networks(named, NetworkSet((Network("192.0.2.0/24", 0, "here", ""),), "readers"), 9.0)
    port = HttpPort(named, HttpSettings(listen="127.0.0.1:0"), dict, TIMEZONE)
    try:
        host, number = port.start()

        def ask(sql: str) -> str:
            with urlopen(f"http://{host}:{number}/", sql.encode(), timeout=30) as answer:
                return str(answer.read().decode()).strip()

        assert ask("SELECT network_of(toIPv6('192.0.2.9'))") == "here"
        assert ask("SELECT dictGet('network_by_prefix', 'name', toIPv6('192.0.2.9'))") == "here"
        for refused in (
            "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(FILE(PATH '/etc/passwd' FORMAT 'CSV')) LAYOUT(FLAT())",
            "CREATE FUNCTION f AS (x) -> file(x)",
            "CREATE OR REPLACE FUNCTION network_of AS (x) -> 'nobody'",
            "DROP FUNCTION network_of",
            "DROP DICTIONARY network_by_prefix",
            "SYSTEM RELOAD DICTIONARY network_by_prefix",
            "SELECT * FROM dictionary('network_by_prefix')",
            "INSERT INTO network_name (name) VALUES ('nobody')",
        ):
            with pytest.raises(HTTPError) as failed:
                ask(refused)
            failed.value.close()
        assert ask("SELECT network_of(toIPv6('192.0.2.9'))") == "here"
    finally:
        port.close()
