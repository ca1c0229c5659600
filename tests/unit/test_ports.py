import numpy as np
import pytest

from enricher.ports import buckets, lower_ports, port_table
from sinks.schema import BUCKETS


def rule(proto: int, src: int, dst: int, named: tuple[str, ...] = ()) -> tuple[int, str]:
    table = port_table(named)
    protos, sources, destinations = np.array([proto], "u1"), np.array([src], "u2"), np.array([dst], "u2")
    lower = lower_ports(protos, sources, destinations)
    return int(lower[0]), table.labels[buckets(protos, lower, table)[0]]


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        # the golden cases of the report's port rule
        ((6, 443, 51000), (443, "tcp/443")),
        ((17, 51000, 443), (443, "udp/443")),
        ((17, 443, 80), (80, "udp/<1024")),
        ((6, 1023, 1024), (1023, "tcp/<1024")),
        ((6, 1024, 40000), (1024, "tcp/>=1024")),
        ((50, 0, 0), (0, "esp")),
        ((1, 0, 769), (0, "icmp")),
        # and what it says in words
        ((6, 0, 0), (0, "tcp/<1024")),
        ((17, 0, 65535), (0, "udp/<1024")),
        ((6, 8080, 80), (80, "tcp/80")),
        ((6, 443, 80), (80, "tcp/80")),
        ((17, 65535, 65535), (65535, "udp/>=1024")),
        ((47, 7, 9), (0, "gre")),
        ((4, 0, 0), (0, "ipip")),
        ((41, 0, 0), (0, "ipv6")),
        ((58, 128, 0), (0, "icmp6")),
        ((132, 443, 443), (0, "other")),
        ((0, 443, 443), (0, "other")),
        ((255, 1, 1), (0, "other")),
    ],
)
def test_lower_port_and_bucket(flow: tuple[int, int, int], expected: tuple[int, str]) -> None:
    assert rule(*flow) == expected


def test_a_named_port_has_its_bucket_and_takes_no_other_along() -> None:
    assert rule(17, 4500, 50000, ("udp/4500",)) == (4500, "udp/4500")
    assert rule(6, 4500, 50000, ("udp/4500",)) == (4500, "tcp/>=1024")
    assert rule(17, 4501, 50000, ("udp/4500",)) == (4501, "udp/>=1024")
    assert port_table().labels == BUCKETS


@pytest.mark.parametrize(
    "named",
    [("udp/65536",), ("sctp/1",), ("tcp/<512",), ("tcp/<1024",), ("tcp/443",), ("tcp/1", "tcp/1"), ("tcp/01",), ("",)],
)
def test_a_bad_or_double_name_is_refused(named: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"is not a port|its bucket already"):
        port_table(named)
