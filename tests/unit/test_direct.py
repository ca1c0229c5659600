"""Look-ups by address against a walk over all prefixes with the standard library's ``ipaddress``."""

import ipaddress
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher import direct
from enricher.prefixes import I8, PrefixTable, build

MAPPED = 0xFFFF << 32
PAGES = (0x0A000000, 0x0A010000, 0xC6330000)  # two that are neighbours, one that is far away


@st.composite
def networks(draw: st.DrawFn) -> ipaddress.IPv4Network:
    address = draw(st.sampled_from(PAGES)) | draw(st.sampled_from((0, 1, 255, 256, 0xFF00, 0xFFFF)))
    length = draw(st.sampled_from((14, 15, 16, 17, 20, 24, 31, 32)))
    return ipaddress.ip_network((address, length), strict=False)  # type: ignore[return-value]


asked = st.lists(
    st.sampled_from((*PAGES, 0x0A020000, 0x0AFF0000, 0)).flatmap(
        lambda page: st.sampled_from((0, 1, 2, 255, 256, 257, 0xFEFF, 0xFF00, 0xFFFF)).map(lambda low: page | low)
    ),
    min_size=1,
    max_size=20,
)


def table(all_of_them: list[ipaddress.IPv4Network]) -> tuple[PrefixTable, I8]:
    low = np.array([MAPPED | int(each.network_address) for each in all_of_them], "u8")
    return build(np.zeros(len(low), "u8"), low, np.array([96 + each.prefixlen for each in all_of_them], "u1"))


def found(of: PrefixTable, addresses: list[int]) -> list[int]:
    packed = b"".join((MAPPED | each).to_bytes(16) for each in addresses)
    numbers: list[int] = of.longest(np.frombuffer(packed, "V16"), lambda _, numbers: numbers).tolist()
    return numbers


def walked(all_of_them: list[ipaddress.IPv4Network], numbers: list[int], addresses: list[int]) -> list[int]:
    answers = []
    for each in map(ipaddress.IPv4Address, addresses):
        fitting = [at for at, network in enumerate(all_of_them) if each in network]
        best = max(fitting, key=lambda at: all_of_them[at].prefixlen, default=-1)
        answers.append(numbers[best] if fitting else -1)
    return answers


@settings(deadline=None, max_examples=40)
@given(st.lists(networks(), min_size=1, max_size=12), asked)
def test_the_longest_prefix_answers(given_ones: list[ipaddress.IPv4Network], addresses: list[int]) -> None:
    made, numbers = table(given_ones)
    assert made.v4 is not None
    assert found(made, addresses) == walked(given_ones, numbers.tolist(), addresses)


@settings(deadline=None, max_examples=40)
@given(st.lists(networks(), min_size=1, max_size=8), st.lists(networks(), max_size=8), asked)
def test_prefixes_that_come_later_count_too(
    first: list[ipaddress.IPv4Network], later: list[ipaddress.IPv4Network], addresses: list[int]
) -> None:
    later = [each for each in later if each not in first]
    made, numbers = table(first)
    more, others = table(later) if later else (build(*(np.empty(0, kind) for kind in ("u8", "u8", "u1"))))
    both = made.with_more(more)
    assert both.v4 is not None
    expected = walked(first + later, [*numbers.tolist(), *(others + made.size).tolist()], addresses)
    assert found(both, addresses) == expected


@settings(deadline=None, max_examples=40)
@given(st.lists(networks(), min_size=1, max_size=12), asked)
def test_beyond_the_bound_the_hash_answers_the_same(
    given_ones: list[ipaddress.IPv4Network], addresses: list[int]
) -> None:
    with mock.patch.object(direct, "_LEAST_PAGES", 0):
        made, numbers = table(given_ones)
    assert made.v4 is None
    assert found(made, addresses) == walked(given_ones, numbers.tolist(), addresses)


@pytest.mark.parametrize(
    ("prefixes", "is_direct"),
    [
        ([f"10.{page}.0.1/32" for page in range(16)], True),
        ([f"10.{page}.0.1/32" for page in range(17)], False),  # 17 pages of 256 KB for 17 prefixes
        (["10.0.0.0/12"], True),
        (["10.0.0.0/11"], False),
        (["0.0.0.0/0", "10.0.0.1/32"], False),
    ],
)
def test_scattered_prefixes_take_no_memory(prefixes: list[str], *, is_direct: bool) -> None:
    made, numbers = table([ipaddress.IPv4Network(each) for each in prefixes])
    assert (made.v4 is not None) == is_direct
    assert made.nbytes < 6_000_000
    last = ipaddress.IPv4Network(prefixes[-1])
    assert found(made, [int(last.network_address)]) == [numbers[-1]]


def test_a_prefix_answers_when_a_longer_one_declines() -> None:
    made, numbers = table([ipaddress.IPv4Network("10.0.0.0/24"), ipaddress.IPv4Network("10.0.0.1/32")])
    assert made.v4 is not None
    wide, narrow = numbers.tolist()
    address = np.frombuffer((MAPPED | 0x0A000001).to_bytes(16), "V16")
    assert made.longest(address, lambda _, asked: asked).tolist() == [narrow]
    assert made.longest(address, lambda _, asked: np.where(asked == narrow, -1, asked)).tolist() == [wide]


def test_an_address_of_ipv6_with_the_same_end_is_another() -> None:
    made, _ = table([ipaddress.IPv4Network("10.0.0.1/32")])
    others = [0x0A000001, 1 << 127 | MAPPED | 0x0A000001, 1 << 48 | MAPPED | 0x0A000001, 0xFFFE << 32 | 0x0A000001]
    packed = b"".join(each.to_bytes(16) for each in others)
    assert made.longest(np.frombuffer(packed, "V16"), lambda _, numbers: numbers).tolist() == [-1] * 4
