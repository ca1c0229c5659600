"""The SQL functions against slow Python written from the report's specification."""

import ipaddress
import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.sql_page import described, functions
from tests.stored import FOR_EVER, TIMEZONE

few = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def sql(engine: EmbeddedStore) -> EmbeddedStore:
    store = engine.in_database("functions")
    migrate(store, FOR_EVER, TIMEZONE)
    return store


def one(store: EmbeddedStore, expression: str, **parameters: object) -> object:
    return store.query(f"SELECT {expression}", **parameters).column(0)[0].as_py()


@pytest.mark.parametrize(
    ("proto", "src", "dst", "port", "bucket"),
    [  # the specification's golden cases, section 1, and the protocols without ports
        (6, 443, 51000, 443, "tcp/443"), (17, 51000, 443, 443, "udp/443"), (17, 443, 80, 80, "udp/<1024"),
        (6, 1023, 1024, 1023, "tcp/<1024"), (6, 1024, 40000, 1024, "tcp/>=1024"), (50, 0, 0, 0, "esp"),
        (1, 0, 769, 0, "icmp"), (6, 80, 3000, 80, "tcp/80"), (17, 0, 0, 0, "udp/<1024"),
        (17, 4500, 4500, 4500, "udp/>=1024"), (47, 9, 9, 0, "gre"), (4, 0, 0, 0, "ipip"), (41, 0, 0, 0, "ipv6"),
        (58, 1, 2, 0, "icmp6"), (132, 80, 80, 0, "other"),
    ],
)  # fmt: skip
def test_lower_port_and_bucket(sql: EmbeddedStore, proto: int, src: int, dst: int, port: int, bucket: str) -> None:
    ends = "toUInt8({proto:UInt8}), toUInt16({src:UInt16}), toUInt16({dst:UInt16})"
    assert one(sql, f"lower_port_of({ends})", proto=proto, src=src, dst=dst) == port
    assert one(sql, f"bucket_of({ends})", proto=proto, src=src, dst=dst) == bucket


# Table 3 of the report, 2024, fixed: UDP 443 21.0 of all, TCP 443 53.8, UDP in all 28.2.
SHARES = {"udp/443": 210, "tcp/443": 538, "udp/>=1024": 60, "udp/<1024": 12, "esp": 30, "tcp/80": 150}


def test_quic_shares_are_those_of_the_published_table(sql: EmbeddedStore) -> None:
    rows = " UNION ALL ".join(f"SELECT '{bucket}' AS b, {octets} AS o" for bucket, octets in SHARES.items())
    found = sql.query(f"SELECT quic_of_all(b, o) AS q1, quic_of_443(b, o) AS q2, quic_of_udp(b, o) AS q3 FROM ({rows})")
    q1, q2, q3 = found.to_pylist()[0].values()
    assert (round(100 * q1, 1), round(100 * q2, 1), round(100 * q3, 1)) == (21.0, 28.1, 74.5)


@pytest.mark.parametrize("function", ["quic_of_all", "quic_of_443", "quic_of_udp"])
def test_a_share_of_nothing_is_no_number(sql: EmbeddedStore, function: str) -> None:
    assert one(sql, f"{function}(bucket, octets_est) FROM bucket_1m") is None
    assert one(sql, f"{function}(bucket, 0) FROM (SELECT 'udp/443' AS bucket)") is None
    assert sql.query(f"SELECT {function}(bucket, octets_est) AS q FROM bucket_1m GROUP BY service").num_rows == 0
    assert one(sql, "error_of(share_of(0, 0), 0)") is None


def mode(values: list[int]) -> float | None:
    """Section 3 in words, with exact fractions."""
    bins = Counter(round(10 * math.log10(value)) for value in values if value > 0)
    if not bins:
        return None
    top = min(bins, key=lambda each: (-bins[each], each))
    left, most, right = bins[top - 1], bins[top], bins[top + 1]
    place = Fraction(top, 10) + Fraction(1, 20) * Fraction(left - right, left - 2 * most + right)
    return float(10 ** (round(20 * place) / 20))


@few
@given(
    values=st.lists(st.one_of(st.integers(0, 10**12), st.sampled_from([10**4, 11_000, 12_000, 13_000])), max_size=60)
)
def test_the_mode_lies_on_the_grid_of_reports(sql: EmbeddedStore, values: list[int]) -> None:
    found = one(sql, "mode_of(log_histogram_of(v)) FROM (SELECT arrayJoin({values:Array(Int64)}) AS v)", values=values)
    wanted = mode(values)
    assert found == pytest.approx(wanted, rel=1e-12) if wanted is not None else found is None


@few
@given(sizes=st.lists(st.integers(0, 12), min_size=3, max_size=3).filter(any))
def test_the_parabola_moves_the_mode_at_most_one_step(sql: EmbeddedStore, sizes: list[int]) -> None:
    # Values in the middle of three neighbouring bins, where the fullest may be at the edge.
    values = [round(10 ** (4 + bin_ / 10)) for bin_, size in enumerate(sizes) for _ in range(size)]
    found = one(sql, "mode_of(log_histogram_of(v)) FROM (SELECT arrayJoin({values:Array(Int64)}) AS v)", values=values)
    assert found == pytest.approx(mode(values), rel=1e-12)


@few
@given(
    address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), other=st.ip_addresses(), length=st.integers(0, 128)
)
def test_an_address_is_in_its_prefix_and_no_other(
    sql: EmbeddedStore, address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int,
) -> None:  # fmt: skip
    network = ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False)
    # The engine writes ::ffff:192.0.2.1 where IPv4 is stored.
    for asked in (address, other):
        inside = one(sql, "in_prefix_of(toIPv6({a:String}), {p:String})", a=str(asked), p=str(network))
        mapped = asked.version == 4 and network.version == 6
        stored = ipaddress.ip_address(f"::ffff:{asked}") if mapped else asked
        assert bool(inside) == (stored in network)
    shown = one(sql, "address_of(toIPv6({a:String}))", a=str(address))
    assert ipaddress.ip_address(str(shown)) == address


def test_every_function_is_told_of_and_ends_in_of(sql: EmbeddedStore) -> None:
    assert functions() == described()
    assert all("_of" in name for name in functions())  # they belong to the whole server: no plain words
