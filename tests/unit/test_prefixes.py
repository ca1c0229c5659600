import ipaddress

import numpy as np
import pytest

from enricher.prefixes import PrefixError, PrefixSet, build, parse_prefix

MAPPED = bytes(10) + b"\xff\xff"


def packed(*texts: str) -> np.ndarray:
    addresses = [ipaddress.ip_address(text) for text in texts]
    return np.frombuffer(b"".join((MAPPED if a.version == 4 else b"") + a.packed for a in addresses), "V16")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.0/24", (0, 0xFFFF_C000_0200, 120)),
        ("192.0.2.1", (0, 0xFFFF_C000_0201, 128)),
        ("0.0.0.0/0", (0, 0xFFFF_0000_0000, 96)),
        ("::ffff:192.0.2.0/120", (0, 0xFFFF_C000_0200, 120)),
        ("2001:db8::/32", (0x2001_0DB8 << 32, 0, 32)),
        ("2001:db8::1", (0x2001_0DB8 << 32, 1, 128)),
        ("::/0", (0, 0, 0)),
    ],
)
def test_parse(text: str, expected: tuple[int, int, int]) -> None:
    assert parse_prefix(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("192.0.2.1/24", "did you mean 192.0.2.0/24"),
        ("2001:db8::1/56", "did you mean 2001:db8::/56"),
        ("192.0.2.0/255.255.255.0", "length as a number"),
        ("fe80::%eth0/64", "no zone"),
        ("192.0.2.0/33", "is not a prefix"),
        ("192.0.2.0/", "is not a prefix|length as a number"),
        ("192.0.2", "is not a prefix"),
        ("", "is not a prefix"),
    ],
)
def test_what_is_no_prefix_is_refused_with_its_reason(text: str, says: str) -> None:
    with pytest.raises(PrefixError, match=says):
        parse_prefix(text)


def test_a_set_contains_its_prefixes_and_no_neighbour() -> None:
    local = PrefixSet.of(["192.0.2.128/25", "2001:db8:8::/45", "2001:db8::42/128", "10.0.0.0/7"])
    inside = packed("192.0.2.128", "192.0.2.255", "2001:db8:8::1", "2001:db8:f::", "2001:db8::42", "11.255.255.255")
    outside = packed("192.0.2.127", "192.0.3.0", "2001:db8:7::", "2001:db8:10::", "2001:db8::43", "12.0.0.0", "::")
    assert local.contains(inside).all()
    assert not local.contains(outside).any()


def test_an_empty_set_contains_nothing() -> None:
    assert not PrefixSet.of([]).contains(packed("192.0.2.1", "::1")).any()
    assert PrefixSet.of(["::/0"]).contains(packed()).tolist() == []


@pytest.mark.parametrize("step", [1, 2, 256, 65_536, 10_007])
def test_keys_in_a_regular_pattern_spread_over_the_buckets(step: int) -> None:
    """A bucket is searched one key after the other, so none may be deep: pools are handed out in such patterns."""
    low = (np.arange(20_000, dtype="u8") * np.uint64(step) % np.uint64(2**32)) | np.uint64(0xFFFF << 32)
    table, numbers = build(np.zeros(20_000, "u8"), low, np.full(20_000, 128, "u1"))
    assert np.diff(table.layers[0].starts).max() <= 8
    assert len(np.unique(numbers)) == table.size == 20_000


def test_equal_prefixes_share_their_number() -> None:
    high = np.array([1, 2, 1, 3], "u8") << np.uint64(32)
    table, numbers = build(high, np.zeros(4, "u8"), np.array([48, 48, 48, 40], "u1"))
    assert table.size == 3
    assert numbers[0] == numbers[2] != numbers[1]
    assert numbers[3] == 2  # the shorter layer comes last


def test_addresses_that_are_not_contiguous_are_read_right() -> None:
    local = PrefixSet.of(["192.0.2.0/24"])
    assert local.contains(packed("192.0.2.1", "::", "192.0.2.2", "::")[::2]).tolist() == [True, True]


@pytest.mark.parametrize(("mapped", "bits"), [(True, 128), (True, 120), (False, 56), (False, 64), (False, 128)])
def test_every_prefix_of_a_crowd_is_found_and_no_other(mapped: bool, bits: int) -> None:
    """Random keys share buckets; a run of neighbours would not, that is what the hash is for."""
    rng = np.random.default_rng(7)
    keys = (rng.choice(2**22, 4_000, replace=False) * 2).astype("u8")
    shift = np.uint64((128 if mapped or bits > 64 else 64) - bits)
    pairs = np.zeros((8_000, 2), ">u8")
    pairs[:, 0] = 0 if mapped else 0x2001_0DB8 << 32
    pairs[:, 1] = 0xFFFF << 32 if mapped else 0
    pairs[:, 1 if mapped or bits > 64 else 0] |= np.append(keys, keys + np.uint64(1)) << shift
    high, low = pairs[:4_000, 0].astype("u8"), pairs[:4_000, 1].astype("u8")
    table, numbers = build(high, low, np.full(4_000, bits, "u1"))
    assert (np.diff(table.layers[0].starts) > 2).any()
    found = table.longest(pairs.view("V16")[:, 0], lambda rows, prefixes: prefixes)
    assert found.tolist() == [*numbers.tolist(), *[-1] * 4_000]
