"""Who is admitted, and how much of one exporter."""

from collections import Counter

import pytest
from pydantic import ValidationError

from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.decoder.admission import Admission
from collector.settings import AdmissionSettings, DecoderSettings
from tests.wire import NOW, assert_adds_up, flowset, template, v9


def judged(exporter: str, **settings: object) -> str | None:
    return Admission(AdmissionSettings.model_validate(settings)).refuses(exporter, 0)


@pytest.mark.parametrize(
    ("exporter", "settings", "expected"),
    [
        ("192.0.2.1", {}, None),
        ("192.0.2.1", {"unknown": "refuse"}, "unknown_exporter"),
        ("192.0.2.1", {"unknown": "refuse", "allow": ["192.0.2.0/24"]}, None),
        ("192.0.3.1", {"unknown": "refuse", "allow": ["192.0.2.0/24"]}, "unknown_exporter"),
        ("192.0.2.1", {"deny": ["192.0.2.0/24"]}, "denied"),
        ("192.0.2.1", {"deny": ["192.0.2.0/24"], "allow": ["192.0.2.1/32"]}, None),
        ("192.0.2.1", {"deny": ["192.0.2.1/32"], "allow": ["192.0.2.0/24"]}, "denied"),
        ("192.0.2.1", {"deny": ["192.0.2.0/24"], "allow": ["192.0.2.0/24"]}, "denied"),
        ("2001:db8::1", {"deny": ["2001:db8::/32"]}, "denied"),
        ("2001:db8::1", {"deny": ["0.0.0.0/0"]}, None),
    ],
)
def test_the_longest_prefix_decides(exporter: str, settings: dict[str, object], expected: str | None) -> None:
    assert judged(exporter, **settings) == expected


def test_a_bad_prefix_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="does not appear to be"):
        AdmissionSettings(allow=("somewhere",))


def test_a_rate_is_a_bucket_of_one_second() -> None:
    one = Admission(AdmissionSettings(datagrams_per_second=10))
    assert [one.refuses("a", 1000) for _ in range(12)] == [None] * 10 + ["rate_limit"] * 2
    assert one.refuses("b", 1000) is None  # each has its own
    assert [one.refuses("a", 1250) for _ in range(4)] == [None] * 2 + ["rate_limit"] * 2  # 2.5 in 250 ms
    assert [one.refuses("a", 1300) for _ in range(2)] == [None, "rate_limit"]
    assert one.refuses("a", 500) == "rate_limit"  # a clock set back
    assert sum(one.refuses("a", 100_000) is None for _ in range(20)) == 10


def test_refused_datagrams_are_counted_and_cost_no_memory() -> None:
    settings = AdmissionSettings(unknown="refuse", allow=("192.0.2.1/32",), datagrams_per_second=2)
    one = Decoder(DecoderSettings(), "test", Admission(settings))
    payload = memoryview(v9(flowset(0, template(256, (7, 2))), flowset(256, b"\0\x50")))
    senders = [f"198.51.{number // 256}.{number % 256}" for number in range(2000)] + ["192.0.2.1"] * 5
    one.add(Datagrams(senders, [payload] * len(senders), NOW * 1000))
    counted: Counter[tuple[str, str]] = Counter()
    for count in one.take_counts():
        counted[count.exporter, count.counter] += count.value
    assert counted["refused", "datagrams"] == counted["refused", "datagrams_dropped_unknown_exporter"] == 2000
    assert counted["192.0.2.1", "datagrams"] == 5
    assert counted["192.0.2.1", "datagrams_dropped_rate_limit"] == 3
    assert counted["192.0.2.1", "datagrams_decoded"] == 2
    assert one.templates() == 1
    totals: Counter[str] = Counter()
    for (_, name), value in counted.items():
        totals[name] += value
    assert_adds_up(totals, 0)
