from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from enricher.enrichment import Tables, enrich, limit_days, widest_span
from enricher.leases import LeaseTable
from enricher.points import ObservationPoints
from enricher.ports import port_table
from enricher.prefixes import PrefixSet
from enricher.settings import EnricherSettings
from enricher.sources.tables import parse_leases
from enricher.subscribers import sub_id
from sinks.batch import Batch, constant, is_constant
from sinks.schema import ENRICHED, RAW, Flag, SamplingSource

KEY = bytes(range(32))
LEASES = """prefix,from,to,subscriber,group,service,segment,access
192.0.2.1/32,100,200,A,north,fixed,personal,pppoe
192.0.2.1/32,200,,B,south,fixed,enterprise,pppoe
2001:db8:0:100::/56,0,,A,north,fixed,personal,ipoe
198.51.100.1/32,0,,090-1,,mobile,personal,mobile
192.0.2.9/32,0,,C,,fixed,personal,pppoe
192.0.2.9/32,0,,D,,fixed,personal,pppoe
"""
MAPPED = bytes(10) + b"\xff\xff"
FIXED, MOBILE = MAPPED + bytes((192, 0, 2, 1)), MAPPED + bytes((198, 51, 100, 1))
DOUBTFUL, FAR = MAPPED + bytes((192, 0, 2, 9)), MAPPED + bytes((203, 0, 113, 1))
HOME = bytes.fromhex("20010db8000001ff0000000000000001")
A, B = sub_id(KEY, "fixed", "A", "pppoe"), sub_id(KEY, "fixed", "B", "pppoe")
LINE, A6 = sub_id(KEY, "mobile", "090-1", "mobile"), sub_id(KEY, "fixed", "A", "ipoe")


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables(LeaseTable.of(parse_leases(LEASES.encode(), Path("leases.csv")), KEY))


def flows(*ends: tuple[bytes, bytes], seconds: float = 150) -> Batch:
    batch = Batch.empty(RAW, len(ends))
    batch.labels["exporter"], batch.labels["collector"] = ("192.0.2.254",), ("c1",)
    columns = batch.columns
    for row, (src, dst) in enumerate(ends):
        columns["src_addr"][row], columns["dst_addr"][row] = np.void(src), np.void(dst)
    columns["ts"][:] = np.datetime64(int(seconds * 1000), "ms")
    columns["proto"][:], columns["src_port"][:], columns["dst_port"][:] = 17, 443, 50_000
    columns["octets"][:], columns["packets"][:] = 1_000, 2
    columns["sampling"][:], columns["sampling_source"][:] = 10, SamplingSource.RECORD
    return batch


def subscribers(batch: Batch) -> list[int]:
    found: list[int] = batch.columns["sub_id"].tolist()
    return found


def test_direction_is_the_subscribers(tables: Tables) -> None:
    result = enrich([flows((FIXED, FAR), (FAR, FIXED), (FAR, FAR), (FIXED, MOBILE))], tables)
    columns = result.batch.columns
    assert columns["direction"].tolist() == [1, 2, 0, 1, 2]
    assert columns["copy"].tolist() == [0, 0, 0, 0, 1]
    assert subscribers(result.batch) == [A, A, 0, A, LINE]
    assert result.ends == (5,)
    coverage = result.coverage
    assert (coverage.matched.flows, coverage.both.flows, coverage.unmatched.flows) == (3, 1, 1)
    assert (coverage.matched.octets_est, coverage.both.octets_est, coverage.unmatched.octets_est) == (
        30_000, 10_000, 10_000,
    )  # fmt: skip


def test_second_rows_follow_those_of_their_source(tables: Tables) -> None:
    sources = [flows((FIXED, MOBILE), (FAR, FAR)), flows((FAR, FIXED)), flows((FAR, HOME), (HOME, FIXED))]
    result = enrich(sources, tables)
    assert result.ends == (3, 4, 7)
    assert subscribers(result.batch) == [A, 0, LINE, A, A6, A6, A]
    assert result.batch.columns["copy"].tolist() == [0, 0, 1, 0, 0, 0, 1]
    assert result.batch.columns["src_addr"].tobytes() == b"".join((FIXED, FAR, FIXED, FAR, FAR, HOME, HOME))
    coverage = result.coverage
    assert (coverage.matched.flows, coverage.both.flows, coverage.unmatched.flows) == (4, 2, 1)


def test_an_ambiguous_flow_is_counted_once(tables: Tables) -> None:
    result = enrich([flows((FAR, FAR)), flows((FAR, FIXED), (DOUBTFUL, DOUBTFUL)), flows((FAR, DOUBTFUL))], tables)
    doubtful = result.batch.columns["flags"] & Flag.AMBIGUOUS_LEASE != 0
    assert doubtful.tolist() == [False, False, True, True, True]
    assert (result.coverage.ambiguous.flows, result.coverage.ambiguous.octets_est) == (2, 20_000)


def test_constant_columns_stay_constant_and_change_no_value(tables: Tables) -> None:
    ends = ((FIXED, MOBILE), (DOUBTFUL, FAR), (FAR, FAR))
    for rows in (ends, ends[1:]):
        for interval, source in ((10, SamplingSource.RECORD), (1, SamplingSource.RECORD), (0, SamplingSource.UNKNOWN)):
            plain = flows(*rows)
            plain.columns["sampling"][:], plain.columns["sampling_source"][:] = interval, source
            short = Batch(
                {
                    name: array if name.endswith("_addr") else constant(array[0], array.dtype, len(array))
                    for name, array in plain.columns.items()
                },
                plain.labels,
            )
            expected, found = enrich([plain, plain], tables), enrich([short, short], tables)
            for column in ENRICHED:
                one, two = (each.batch.columns[column.name] for each in (expected, found))
                assert one.tobytes() == two.tobytes(), column.name
            assert (expected.coverage, expected.ends) == (found.coverage, found.ends)
            assert is_constant(found.batch.columns["sampling"])
            assert is_constant(found.batch.columns["next_hop"])
            assert is_constant(found.batch.columns["copy"]) == (rows is not ends)


def test_labels_follow_each_rows_subscriber(tables: Tables) -> None:
    batch = enrich([flows((FIXED, MOBILE), (FAR, HOME), (FAR, FAR))], tables).batch
    assert batch.text("service") == ["fixed", "fixed", "", "mobile"]
    assert batch.text("segment") == ["personal", "personal", "", "personal"]
    assert batch.text("access") == ["pppoe", "ipoe", "", "mobile"]
    assert batch.text("sub_group") == ["north", "north", "", ""]
    assert subscribers(batch)[1] == A6 != A  # the same subscription on another access is another user
    assert batch.text("exporter") == ["192.0.2.254"] * 4


@pytest.mark.parametrize(("seconds", "who"), [(99.999, 0), (100, A), (199.999, A), (200, B)])
def test_the_flows_end_picks_the_holder(tables: Tables, seconds: float, who: int) -> None:
    assert subscribers(enrich([flows((FAR, FIXED), seconds=seconds)], tables).batch) == [who]


def test_a_reverse_half_keeps_its_mark_in_its_first_row(tables: Tables) -> None:
    batch = flows((FIXED, MOBILE))
    batch.columns["copy"][:] = 2
    columns = enrich([batch], tables).batch.columns
    assert columns["copy"].tolist() == [2, 1]
    assert columns["direction"].tolist() == [1, 2]


def test_an_ambiguous_lease_flags_its_row_only(tables: Tables) -> None:
    result = enrich([flows((DOUBTFUL, FIXED), (FAR, FAR))], tables)
    assert result.batch.columns["flags"].tolist() == [Flag.AMBIGUOUS_LEASE, 0, 0]
    assert result.batch.columns["copy"].tolist() == [0, 0, 1]
    assert (result.coverage.ambiguous.flows, result.coverage.ambiguous.octets_est) == (1, 10_000)


def test_columns_have_the_schemas_types_and_the_raw_batch_is_untouched(tables: Tables) -> None:
    raw = flows((FIXED, MOBILE), (DOUBTFUL, FAR))
    for array in raw.columns.values():
        array.flags.writeable = False  # as the bus hands them out
    result = enrich([raw], tables)
    assert {name: array.dtype for name, array in result.batch.columns.items()} == {
        column.name: column.numpy for column in ENRICHED
    }
    assert set(result.batch.labels) == {column.name for column in ENRICHED if column.is_label}


def test_ports_and_estimates(tables: Tables) -> None:
    batch = enrich([flows((FAR, FIXED))], tables).batch
    assert (batch.columns["lower_port"][0], batch.text("bucket")) == (443, ["udp/443"])
    assert (batch.columns["octets_est"][0], batch.columns["packets_est"][0]) == (10_000, 20)
    named = Tables(ports=port_table(("udp/50000",)))
    raw = flows((FAR, FIXED))
    raw.columns["src_port"][:] = 60_000
    assert enrich([raw], named).batch.text("bucket") == ["udp/50000"]


def test_without_leases_local_prefixes_give_the_direction(tables: Tables) -> None:
    local = PrefixSet.of(["192.0.2.0/24", "2001:db8::/32"])
    result = enrich([flows((FIXED, FAR), (FAR, HOME), (FAR, FAR), (FIXED, HOME))], Tables(local=local))
    assert result.batch.columns["direction"].tolist() == [1, 2, 0, 1, 2]
    assert result.batch.columns["copy"].tolist() == [0, 0, 0, 0, 1]
    assert subscribers(result.batch) == [0] * 5
    assert (result.coverage.matched.flows, result.coverage.unmatched.flows) == (0, 4)


def test_a_lease_has_the_word_before_local_prefixes(tables: Tables) -> None:
    local = Tables(tables.leases, PrefixSet.of(["203.0.113.0/24", "192.0.2.0/24"]))
    result = enrich([flows((FAR, FIXED), (FAR, MAPPED + bytes(4)))], local)
    assert result.batch.columns["direction"].tolist() == [2, 1]
    assert subscribers(result.batch) == [A, 0]


def test_an_empty_batch(tables: Tables) -> None:
    result = enrich([flows()], tables)
    assert (len(result.batch), result.ends) == (0, (0,))
    assert result.coverage.matched.flows == 0


DAY = np.timedelta64(1, "D").astype("m8[ms]")
NOW = np.datetime64("2024-06-03T00:00:00", "ms")


def timed(*ts: np.datetime64, received: np.datetime64 = NOW) -> Batch:
    batch = Batch.empty(RAW, len(ts))
    batch.columns["ts"][:], batch.columns["received"][:] = ts, received
    batch.columns["ts_start"][:] = batch.columns["ts"] - np.timedelta64(1, "s")
    return batch


def test_times_within_the_span_are_left_alone() -> None:
    batch = timed(NOW, NOW - widest_span(50))
    assert limit_days(batch) is batch


def test_one_wrong_clock_moves_only_its_own_rows() -> None:
    batch = timed(NOW, NOW - DAY, NOW + 300 * DAY, NOW - 2 * DAY, NOW - 2000 * DAY)
    limited = limit_days(batch).columns
    assert limited["ts"].tolist() == [NOW, NOW - DAY, NOW, NOW - 2 * DAY, NOW]
    assert limited["flags"].tolist() == [0, 0, Flag.TIME_OUT_OF_BOUNDS, 0, Flag.TIME_OUT_OF_BOUNDS]
    assert limited["ts_start"][2] == limited["ts_start"][4] == NOW
    assert batch.columns["flags"].tolist() == [0] * 5


def test_an_old_capture_is_not_moved_to_the_day_of_its_replay() -> None:
    old = NOW - 700 * DAY
    limited = limit_days(timed(old, old, old - 100 * DAY)).columns
    assert limited["ts"].tolist() == [old, old, old]
    assert np.ptp(limited["ts"]) <= widest_span(50)


def test_bad_settings_are_refused_at_start() -> None:
    for bad in (
        {"local_prefixes": ("192.0.2.1/24",)},
        {"named_ports": ("udp/443",)},
        {"key": "short"},
        {"reload_secs": 1},
    ):
        with pytest.raises(ValidationError):
            EnricherSettings.model_validate(bad)
    assert "a-secret-of-the-operator" not in repr(EnricherSettings.model_validate({"key": "a-secret-of-the-operator"}))


@pytest.mark.parametrize(
    ("rules", "other"),
    [
        ({}, [False, False, False]),
        ({"fixed": ("192.0.2.0/24",)}, [False, False, False]),
        ({"fixed": ("198.51.100.7",)}, [True, False, False]),
        ({"mobile": ("2001:db8::/32",), "fixed": ("192.0.2.254", "10.0.0.0/8")}, [False, True, False]),
        ({"*": ("10.0.0.0/8",)}, [True, True, True]),
        ({"*": ("10.0.0.0/8",), "fixed": ("192.0.2.0/24",)}, [False, True, True]),
        ({"": ("10.0.0.0/8",)}, [False, False, True]),
    ],
)
def test_a_service_is_counted_at_its_observation_point(
    tables: Tables, rules: dict[str, tuple[str, ...]], other: list[bool]
) -> None:
    settings = EnricherSettings(observation_points=rules)
    points = ObservationPoints.of(settings.observation_points) if rules else None
    batch = flows((FIXED, FAR), (FAR, MOBILE), (FAR, FAR))  # all from 192.0.2.254
    batch.columns["flags"][1] = Flag.HELD
    found = enrich([batch], Tables(tables.leases, points=points)).batch.columns["flags"]
    assert (found & Flag.OTHER_POINT != 0).tolist() == other
    assert (found & ~np.uint32(Flag.OTHER_POINT)).tolist() == [0, Flag.HELD, 0]


def test_a_rule_that_is_no_exporter_is_refused() -> None:
    for rule in (("192.0.2.0/33",), ("core",), ()):
        with pytest.raises(ValidationError):
            EnricherSettings(observation_points={"fixed": rule})
