"""All captures of real exporters against the oracle: record by record, every column it settles."""

import pytest

from collector.capture import Capture
from collector.datagrams import Datagrams
from collector.decoder import COUNTERS, Decoder
from collector.settings import TRUST_ALL, DecoderSettings
from sinks.schema import Flag, SamplingSource
from tests.golden.compare import Decoded, decode, differences, read_rows
from tests.golden.exceptions import EXCEPTIONS, HELD, PENDING
from tests.golden.oracle import expected, index
from tests.shared import shared_folder
from tests.wire import assert_adds_up, take

pytestmark = pytest.mark.shared


def names() -> list[str]:
    try:
        return sorted(index())
    except (pytest.skip.Exception, pytest.fail.Exception):
        return ["without captures"]  # the test itself says so


@pytest.mark.parametrize("name", names())
def test_capture(name: str) -> None:
    totals = index()[name]["totals"]
    wanted, found = expected(name), decode(name)
    assert_adds_up(dict(found.counts), found.waiting_sets)
    assert set(found.counts) <= set(COUNTERS)
    assert found.counts["datagrams"] == totals["packets"]
    problems = [
        f"packet {number}: {problem}"
        for number in sorted(wanted.rows.keys() | found.rows.keys())
        for problem in differences(wanted.rows.get(number, []), found.rows.get(number, []))
    ]
    problems += _totals(name, found)
    known = {**PENDING, **EXCEPTIONS}.get(name)
    if known is not None:
        assert problems, f"{name} agrees now: take it off the list of {known!r}"
        return
    assert not problems, f"{len(problems)} differences, the first:\n" + "\n".join(problems[:4])


def _totals(name: str, found: Decoded) -> list[str]:
    """What the index says of the whole capture."""
    totals = index()[name]["totals"]
    problems = []
    if len(found.held) != HELD.get(name, 0):
        problems.append(f"{len(found.held)} records were held")
    if found.counts["sets_held"] != totals["data_sets_without_template"]:
        problems.append(
            f"{found.counts['sets_held']} sets without template, not {totals['data_sets_without_template']}"
        )
    if found.counts["records_options"] != totals["options_records"]:
        problems.append(f"{found.counts['records_options']} options records, not {totals['options_records']}")
    return problems


@pytest.mark.parametrize("name", sorted(HELD))
def test_held_records_are_what_they_would_have_been(name: str) -> None:
    """Heard once more, with every template known, the capture gives the same records, held or not."""
    index()
    decoder = Decoder(DecoderSettings(times=TRUST_ALL, held_sampler_seconds=0), "test")
    for _ in range(2):
        for each in Capture(shared_folder("captures", "pcap", f"{name}.pcap")):
            decoder.add(Datagrams([each.exporter], [memoryview(each.payload)], each.time_ms))
        again = read_rows(take(decoder))
    once = decode(name)
    held = [row | {"flags": row["flags"] & ~Flag.HELD} for row in once.held]
    assert not differences([*(row for rows in once.rows.values() for row in rows), *held], again)


def test_data_before_its_template_is_what_the_same_router_sent_after_it() -> None:
    index()
    wanted = [{key: row[key] for key in row.keys() - {"exporter", "flags"}} for row in expected("v9_cisco_asr9k").all()]
    held = decode("v9_data_before_template").held
    assert len(held) == 21
    assert not differences(wanted, held)


SAMPLING = {
    # name: (interval, source); what the capture says, read by hand from the README and the oracle
    "v9_ak_iosxr_full": (30_000, SamplingSource.SAMPLER),
    "v9_softflowd_sampled10": (10, SamplingSource.DOMAIN),
    "ipfix_pm_cisco_ipv6_sampling": (256, SamplingSource.SAMPLER),  # size 1, population 256
    "ipfix_pm_cisco_501_mpls": (1, SamplingSource.SAMPLER),
    "v9_ak_samplingrate": (2048, SamplingSource.RECORD),
    "v9_cisco_1941": (1, SamplingSource.ASSUMED),
    "v5_juniper_mx80": (1000, SamplingSource.HEADER),
    "v5_vflow": (1000, SamplingSource.HEADER),
}


@pytest.mark.parametrize("name", sorted(SAMPLING))
def test_sampling_is_what_the_exporter_said(name: str) -> None:
    index()
    rows = [row for each in decode(name).rows.values() for row in each]
    assert {(row["sampling"], row["sampling_source"]) for row in rows} == {SAMPLING[name]}


def test_all_are_there() -> None:
    assert len(index()) == 70


def test_what_is_no_flow_export_is_dropped_and_counted() -> None:
    """By the README: one packet of NetFlow v1, and one of no version at all."""
    versions = index()["mixed_bitkeks_one_source"]["totals"]["packets_by_version"]
    counts = decode("mixed_bitkeks_one_source").counts
    dropped = sum(value for name, value in counts.items() if name.startswith("datagrams_dropped_"))
    assert dropped == versions["v1"] + versions["vNone"] == 2


@pytest.mark.parametrize("name", ["sflow_td_counters", "sflow_tg_15918", "sflow_tg_example"])
def test_counter_samples_are_all_counted(name: str) -> None:
    assert decode(name).counts["samples_counter"] == index()[name]["totals"]["counter_samples"] > 0
