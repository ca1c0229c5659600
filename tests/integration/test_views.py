"""The views' sums on known flows, and that everything in the store says what it is."""

from collections import defaultdict
from collections.abc import Iterator

import pytest

from collector.decoder.registry import elements
from sinks import comments
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from sinks.schema import FLOW, Copy, Direction, Flag, SamplingSource
from tests.known_flows import Row, known_observations, known_rows, local, sound, store_flows, store_observations
from tests.query_answers import one_each, port
from tests.stored import FOR_EVER, TIMEZONE, flows, table

# Every third ordinary row, and all the special ones behind them.
ROWS = [row for number, row in enumerate(known_rows()) if number % 3 == 0 or number >= 1700]
MEASURES = ("octets_est", "packets_est", "octets", "packets")


@pytest.fixture(scope="module")
def views(engine: EmbeddedStore) -> Iterator[EmbeddedStore]:
    store = engine.in_database("views")
    migrate(store, FOR_EVER, TIMEZONE)
    store_flows(store, ROWS)
    store_observations(store, known_observations())
    yield store
    engine.command("DROP DATABASE views SYNC")


def measures(rows: list[Row]) -> list[int]:
    return [len(rows), *(sum(row[name] for row in rows) for name in MEASURES)]


COUNTED = {
    "v_buckets": sound(ROWS),
    "v_buckets_5m": sound(ROWS),
    "v_buckets_1h": sound(ROWS),
    "v_buckets_end": sound(ROWS),
    "v_ports": sound(ROWS),
    "v_ports_1d": sound(ROWS),
    "v_subscribers": [row for row in sound(ROWS) if row["sub_id"]],
    "v_exporters": one_each(sound(ROWS, of_service=False)),
    "v_as": one_each(sound(ROWS)),
}


@pytest.mark.parametrize("view", COUNTED)
def test_a_view_sums_to_what_counts(views: EmbeddedStore, view: str) -> None:
    found = views.query(
        "SELECT sum(flows) AS a, sum(octets_est) AS b, sum(packets_est) AS c, sum(sampled_octets) AS d,"
        f" sum(sampled_packets) AS e FROM {view}"
    ).to_pylist()
    assert [*found[0].values()] == measures(COUNTED[view])


@pytest.mark.parametrize("view", [*COUNTED, "v_interfaces", "v_talkers"])
def test_a_key_is_there_once_although_parts_are_not_merged(views: EmbeddedStore, view: str) -> None:
    columns = [row["name"] for row in views.query(f"DESCRIBE TABLE {view}").to_pylist()]
    keys = ", ".join(columns[: columns.index("flows")])
    doubled = views.query(f"SELECT {keys}, count() AS n FROM {view} GROUP BY {keys} HAVING n > 1")
    assert doubled.num_rows == 0


def test_ports_are_written_as_buckets_are(views: EmbeddedStore) -> None:
    found = views.query("SELECT toString(port) AS p, sum(octets_est) AS o FROM v_ports_1d GROUP BY p").to_pylist()
    wanted: dict[str, int] = defaultdict(int)
    for row in sound(ROWS):
        wanted[port(row)] += row["octets_est"]
    assert {row["p"]: row["o"] for row in found} == wanted


def test_subscribers_by_local_day_and_direction(views: EmbeddedStore) -> None:
    found = views.query(
        "SELECT day, sub_id, toString(direction) AS way, sum(octets_est) AS o FROM v_subscribers"
        " GROUP BY day, sub_id, way"
    ).to_pylist()
    wanted: dict[object, int] = defaultdict(int)
    for row in COUNTED["v_subscribers"]:
        way = {Direction.NONE: "none", Direction.IN: "in", Direction.OUT: "out"}[row["direction"]]
        wanted[local(row["ts"]).date(), row["sub_id"], way] += row["octets_est"]
    assert {(row["day"], row["sub_id"], row["way"]): row["o"] for row in found} == wanted


def test_interfaces_have_the_newest_name_and_count_both_ends(views: EmbeddedStore) -> None:
    names = views.query("SELECT DISTINCT exporter, interface, name, speed FROM v_interfaces").to_pylist()
    for row in names:
        told = row["exporter"] != "192.0.2.3" and row["interface"] < 6
        assert row["name"] == (f"xe-{row['interface']}" if told else "")
        assert row["speed"] == (10_000_000 * row["interface"] if told else 0)
    both = views.query("SELECT sum(octets_est) AS o FROM v_interfaces").to_pylist()[0]["o"]
    assert both == 2 * sum(row["octets_est"] for row in one_each(sound(ROWS, of_service=False)))


def test_talkers_are_two_breakdowns_of_the_same_flows(views: EmbeddedStore) -> None:
    whole = sum(row["octets_est"] for row in one_each(sound(ROWS)))
    found = views.query("SELECT kind, side, sum(octets_est) AS o FROM v_talkers GROUP BY kind, side").to_pylist()
    assert [row["o"] for row in found] == [whole] * 4
    shown = set(views.query("SELECT talker FROM v_talkers").column("talker").to_pylist())
    assert {"10.0.5.1", "198.51.100.0/24", "2001:db8:f::/48"} <= shown


def test_quality_has_exporters_and_stages(views: EmbeddedStore) -> None:
    found = views.query("SELECT part, sum(value) AS v FROM v_quality GROUP BY part ORDER BY part").to_pylist()
    noted = known_observations()
    wanted = [sum(row["value"] for row in noted[table]) for table in ("exporter_health_1m", "stage_1m")]
    assert [(row["part"], row["v"]) for row in found] == [("exporter", wanted[0]), ("stage", wanted[1])]


def test_raw_flows_are_shown_as_people_write_them(views: EmbeddedStore) -> None:
    found = views.query(
        "SELECT DISTINCT src, dst FROM v_flows WHERE sound AND ip_version = 4 AND startsWith(dst, '10.')"
    ).to_pylist()
    wanted = {
        (row["src"], row["dst"])
        for row in sound(ROWS, of_service=False)
        if row["ip_version"] == 4 and row["dst"].startswith("10.")
    }
    assert {(row["src"], row["dst"]) for row in found} == wanted
    assert views.query("SELECT countIf(sound) AS n FROM v_flows").to_pylist()[0]["n"] == len(
        sound(ROWS, of_service=False)
    )


def test_words_are_those_of_the_schema(store: EmbeddedStore) -> None:
    numbers = [*range(len(SamplingSource))]
    bits = [*Flag, 1 << 20, 0]
    store.insert("flows", table(flows(len(numbers), sampling_source=numbers, packets=numbers)), token="s")
    store.insert("flows", table(flows(len(bits), flags=bits, packets=99)), token="f")
    found = store.query(
        "SELECT toString(sampling_source) AS w FROM v_flows WHERE sampled_packets < 99 ORDER BY sampled_packets"
    )
    assert found.column("w").to_pylist() == [source.name.lower() for source in SamplingSource]
    shown = store.query("SELECT flags FROM v_flows WHERE sampled_packets = 99").column("flags").to_pylist()
    wanted = [*([flag.name.lower()] for flag in Flag if flag.name), ["1048576"], []]
    assert sorted(map(list, shown)) == sorted(wanted)
    assert [*Copy] == [0, 1, 2]


def test_everything_says_what_it_is(store: EmbeddedStore) -> None:
    assert comments.tell(store) > 0
    assert comments.missing(store) == []
    silent = store.query(
        "SELECT toString(table) AS t, toString(name) AS n FROM system.columns"
        " WHERE database = currentDatabase() AND comment = ''"
    ).to_pylist()
    dictionaries = {"network_by_prefix", "network_by_asn"}
    assert [f"{row['t']}.{row['n']}" for row in silent if row["t"] not in comments.INTERNAL | dictionaries] == []
    tables = store.query("SELECT toString(name) AS n FROM system.tables WHERE database = currentDatabase()")
    assert {*tables.column("n").to_pylist()} - comments.INTERNAL - dictionaries == {*comments.TABLES}


def test_a_comment_that_was_changed_is_told_again(store: EmbeddedStore) -> None:
    comments.tell(store)
    store.command("ALTER TABLE port_1h COMMENT COLUMN lower_port 'nonsense'")
    assert comments.missing(store) == [
        "ALTER TABLE port_1h COMMENT COLUMN `lower_port` "
        "'lower of both ports, 0 without ports; our rule: lower of both ports of TCP and UDP'"
    ]


def test_elements_are_named_as_the_registry_names_them() -> None:
    for column in FLOW:
        said = comments.column_comment("flows", column.name)
        if column.element:
            assert f"IPFIX {column.element} {elements()[column.element].name}" in said
    assert comments.column_comment("flows", "octets") == (
        "octets as exported (sampled) [octets]; IPFIX 1 octetDeltaCount"
    )
