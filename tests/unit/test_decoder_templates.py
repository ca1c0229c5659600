"""Templates: kept apart, defined anew, withdrawn, bounded; data that came before them."""

import pytest

from collector.decoder import Decoder
from collector.settings import DecoderSettings
from sinks.schema import Flag
from tests.wire import (
    NOW,
    add,
    assert_adds_up,
    counts,
    flowset,
    ipfix,
    options9,
    options10,
    rows,
    take,
    template,
    v9,
)  # fmt: skip

PORTS = template(256, (7, 2), (11, 2))
SWAPPED = template(256, (11, 2), (7, 2))
DATA = flowset(256, bytes([0, 1, 0, 2]))


def decoder(**settings: object) -> Decoder:
    return Decoder(DecoderSettings.model_validate(settings), "test")


def test_a_template_defined_anew_counts_from_there() -> None:
    one = decoder()
    add(one, ipfix(flowset(2, PORTS), DATA, flowset(2, SWAPPED), DATA))
    assert sorted(rows(one, "src_port", "dst_port")) == [(1, 2), (2, 1)]


def test_domains_versions_and_exporters_do_not_share_templates() -> None:
    one = decoder()
    add(one, v9(flowset(0, PORTS), domain=7))
    add(one, v9(DATA, domain=8), ipfix(DATA, domain=7))
    add(one, v9(DATA, domain=7), exporter="192.0.2.2")
    assert take(one) is None
    assert one.held()[0] == 3
    add(one, v9(DATA, domain=7))
    assert rows(one, "domain", "exporter") == [(7, "192.0.2.1")]


def test_options_and_flow_templates_share_the_numbers() -> None:
    one = decoder()
    add(one, v9(flowset(0, PORTS), flowset(1, options9(256, [(1, 4)], (34, 4)))))
    add(one, v9(flowset(256, bytes(8))))
    assert take(one) is None
    assert counts(one)["records_options"] == 1


@pytest.mark.parametrize("withdrawal", [template(256), template(2)])
def test_a_withdrawn_template_reads_nothing(withdrawal: bytes) -> None:
    one = decoder()
    add(one, ipfix(flowset(2, PORTS)), ipfix(flowset(2, withdrawal)), ipfix(DATA))
    assert take(one) is None
    counted = counts(one)
    assert (counted["templates_withdrawn"], counted["sets_held"], one.templates()) == (1, 1, 0)
    add(one, ipfix(flowset(2, PORTS), DATA))
    assert len(rows(one, "src_port")) == 2


def test_withdrawing_all_of_one_kind_leaves_the_other() -> None:
    one = decoder()
    add(one, ipfix(flowset(2, PORTS), flowset(3, options10(257, 1, (149, 4), (34, 4)))))
    add(one, ipfix(flowset(3, template(3))))
    assert one.templates() == 1
    add(one, ipfix(DATA))
    assert len(rows(one, "src_port")) == 1


def test_a_v9_template_without_fields_is_no_withdrawal() -> None:
    one = decoder()
    add(one, v9(flowset(0, PORTS)), v9(flowset(0, template(256))), v9(DATA))
    assert len(rows(one, "src_port")) == 1
    assert counts(one)["templates_dropped_template_empty"] == 1


def test_the_least_recently_used_templates_of_an_exporter_go_first() -> None:
    one = decoder(templates_per_exporter=16)
    add(one, v9(flowset(0, PORTS)))
    for number in range(300, 400):
        add(one, v9(flowset(0, template(number, (7, 2), (11, 2)))))
    assert one.templates() <= 16
    add(one, v9(flowset(399, bytes([0, 1, 0, 2]))))
    assert rows(one, "src_port") == [(1,)]
    counted = counts(one)
    assert counted["templates_accepted"] == one.templates() + counted["templates_evicted"]


def test_one_exporters_flood_leaves_another_ones_templates() -> None:
    one = decoder(templates_per_exporter=16)
    add(one, v9(flowset(0, PORTS)), exporter="192.0.2.9")
    for number in range(300, 400):
        add(one, v9(flowset(0, template(number, (7, 2)))))
    add(one, v9(DATA), exporter="192.0.2.9")
    assert rows(one, "src_port") == [(1,)]


def test_invented_domains_are_bounded() -> None:
    one = decoder(domains=32)
    for number in range(200):
        add(one, v9(flowset(0, PORTS), DATA, domain=number))
    assert one.templates() <= 32
    counted = counts(one)
    assert counted["domains_evicted"] >= 200 - 32
    assert_adds_up(counted, one.held()[0])
    assert len(rows(one, "src_port")) == 200  # what was collected is decoded, whoever was forgotten


def test_data_before_its_template_is_held_and_flagged() -> None:
    one = decoder()
    add(one, v9(DATA, DATA))
    assert take(one) is None
    assert one.held()[0] == 2
    add(one, v9(flowset(0, PORTS), DATA))
    assert sorted(rows(one, "src_port", "flags")) == sorted(
        [(1, Flag.NO_FLOW_TIME.value)] + 2 * [(1, (Flag.NO_FLOW_TIME | Flag.HELD).value)]
    )
    counted = counts(one)
    assert_adds_up(counted, 0)
    assert counted["datagrams_held"] == 1


def test_held_options_data_is_read_when_its_template_comes() -> None:
    one = decoder()
    add(one, v9(flowset(300, (9).to_bytes(4, "big") + (512).to_bytes(4, "big"))))
    add(one, v9(flowset(1, options9(300, [(1, 4)], (34, 4))), flowset(0, PORTS), DATA))
    assert rows(one, "sampling") == [(512,)]


def test_held_data_expires() -> None:
    one = decoder(held_seconds=60)
    add(one, v9(DATA))
    one.expire((NOW + 1 + 61) * 1000)
    assert one.held() == (0, 0)
    counted = counts(one)
    assert counted["held_dropped_expired"] == 1
    assert_adds_up(counted, 0)


def test_held_data_is_bounded_for_one_exporter_and_in_all() -> None:
    big = flowset(256, bytes(1000))
    one = decoder(held_bytes_per_exporter=5000, held_bytes=8000)
    add(one, *[v9(big)] * 10)
    assert one.held()[1] <= 5000
    add(one, *[v9(big)] * 10, exporter="192.0.2.2")
    assert one.held()[1] <= 8000
    counted = counts(one)
    assert counted["sets_dropped_held_full"] > 0
    assert_adds_up(counted, one.held()[0])


def test_a_silent_domain_is_forgotten_with_what_it_held() -> None:
    one = decoder(idle_seconds=100, held_seconds=1000)
    add(one, v9(flowset(0, template(300, (7, 2))), DATA))
    one.expire((NOW + 1 + 101) * 1000)
    assert (one.templates(), one.held()) == (0, (0, 0))
    counted = counts(one)
    assert (counted["held_dropped_evicted"], counted["domains_evicted"]) == (1, 1)
    assert_adds_up(counted, 0)


def test_undecodable_datagrams_of_invented_exporters_are_bounded() -> None:
    one = decoder()
    for number in range(70_000):
        add(one, b"\0\x01", exporter=str(number))
    counted = one.take_counts()
    assert len(counted) <= 65_536 + 4
    assert sum(count.value for count in counted if count.counter == "datagrams") == 70_000
