from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import IPv6Address
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from enricher.leases import HELD, LeaseRows
from enricher.sources.kea import KeaSource
from enricher.sources.kea_leases import Labels
from enricher.sources.kea_lines import Family
from flowtide.simulator.kea import write_kea4, write_kea6
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import PeoplePlan

HEADER = (
    "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id\n"
)
LABELS = Labels(0, 2, 1, "")
NOW = 10_000.0
BEGIN = int(datetime(2024, 6, 3, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
PLAN = PeoplePlan(pppoe=10, ipoe=60, mobile=10, on_both=5)

Holding = tuple[str, int, int, int, str]


def line(who: str, renewed: int, valid: int = 100, address: str = "192.0.2.1", state: int = 0, expire: int = 0) -> str:
    return f"{address},,{who},{valid},{expire or renewed + valid},1,0,0,,{state},,0\n"


OPENED: list[KeaSource] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Sources hold their files open."""
    yield
    while OPENED:
        OPENED.pop().close()


def source(path: Path, most: int = 100, history_seconds: float = 1e6) -> KeaSource:
    OPENED.append(KeaSource("kea", path, 4, "client_id", LABELS, most=most, history_seconds=history_seconds))
    return OPENED[-1]


def by_relay(path: Path, family: Family = 4) -> KeaSource:
    OPENED.append(KeaSource("kea", path, family, "remote_id", LABELS))
    return OPENED[-1]


def holdings(rows: LeaseRows | None) -> list[tuple[str, int, int]]:
    """(client, since, until) in seconds, in order of time; -1: held."""
    assert rows is not None
    return sorted(
        (
            rows.subscribers[rows.subscriber[row]],
            int(rows.since[row]) // 1000,
            -1 if rows.until[row] == HELD else int(rows.until[row]) // 1000,
        )
        for row in range(len(rows))
    )


def of(path: Path, *lines: str) -> list[tuple[str, int, int]]:
    path.write_text(HEADER + "".join(lines))
    return holdings(source(path).poll(NOW))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kea-leases4.csv"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line("a", 0)], [("a", 0, 100)]),
        ([line("a", 0), line("a", 50), line("a", 100)], [("a", 0, 200)]),  # renewals prolong it
        ([line("a", 0), line("a", 50, 20)], [("a", 0, 70)]),  # or shorten it
        ([line("a", 0), line("a", 101)], [("a", 0, 100), ("a", 101, 201)]),  # came back later
        ([line("a", 0), line("b", 30)], [("a", 0, 30), ("b", 30, 130)]),  # handed over before its end
        ([line("a", 0), line("a", 40, 0, expire=40)], [("a", 0, 40)]),  # given back, with the time
        # Given back as Kea writes it, with the time of the last renewal: another client's line says the time.
        ([line("a", 0), line("x", 60, address="192.0.2.9"), line("a", 0, 0), line("b", 70)],
         [("a", 0, 60), ("b", 70, 170), ("x", 60, 160)]),
        ([line("a", 0), line("a", 0, 100, state=2)], [("a", 0, 100)]),  # expired and reclaimed
        ([line("a", 0), line("a", 30, 900, state=1)], [("a", 0, 30)]),  # declined: nobody has it
        ([line("a", 0), line("a", 40, 0, state=3)], [("a", 0, 40)]),  # released and kept for the client
        ([line("a", 0, 4_294_967_295)], [("a", 0, -1)]),
        ([line("a", 0, 4_294_967_295), line("a", 40, 0)], [("a", 0, 40)]),
        ([line("a", 0), line("", 30)], [("a", 0, 30)]),  # somebody without a name took it
        ([line("b", 50), line("a", 0, 80)], [("a", 0, 50), ("b", 50, 150)]),  # late, of a partner server
        ([line("a", 50), line("a", 0)], [("a", 0, 150)]),  # late, of the same lease
        ([line("a", 5, 0)], []),  # the end of what is not known
        ([line("a", 0), line("b", 0)], [("b", 0, 100)]),  # the same second: the later line
    ],
)  # fmt: skip
def test_lines_become_leases(path: Path, lines: list[str], expected: list[tuple[str, int, int]]) -> None:
    assert of(path, *lines) == expected


def skipped(reason: str) -> float:
    return REGISTRY.get_sample_value("enricher_lease_lines_skipped_total", {"source": "kea", "reason": reason}) or 0.0


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("nonsense\n", "bad_line"),
        ("192.0.2.9,,x,100\n", "bad_line"),
        ("\0" * 70_000 + "\n", "bad_line"),
        (line("x", 1_000_000), "bad_line"),  # a clock years ahead would end no lease in time
        (line("", 10), "nameless"),
        (line("c", 10, address="192.0.2.3") + line("d", 10, address="192.0.2.4"), "full"),
    ],
)
def test_a_line_of_no_use_is_counted_and_the_others_are_taken(path: Path, bad: str, reason: str) -> None:
    before = skipped(reason)
    path.write_text(HEADER + line("b", 10, address="192.0.2.2") + bad + line("a", 20))
    kea = source(path, most=3)
    found = holdings(kea.poll(NOW))
    assert [("a", 20, 120) in found or reason == "full", ("b", 10, 110) in found] == [True, True]
    assert skipped(reason) == before + 1
    assert kea.status(NOW).error is None


def test_only_the_new_end_of_the_file_is_read_and_half_a_line_waits(path: Path) -> None:
    path.write_text(HEADER[:20])
    kea = source(path)
    assert kea.poll(NOW) is None
    with path.open("a") as file:
        file.write(HEADER[20:] + line("a", 0) + line("a", 50)[:30])
        file.flush()
        assert holdings(kea.poll(NOW)) == [("a", 0, 100)]
        assert kea.poll(NOW) is None
        file.write(line("a", 50)[30:])
        file.flush()
        assert holdings(kea.poll(NOW)) == [("a", 0, 150)]
    status = kea.status(NOW + 5)
    assert (status.kind, status.leases, status.read_at, status.newest_ms) == ("kea4", 1, NOW, 50_000)


def test_a_clean_up_in_the_middle_loses_nothing(path: Path) -> None:
    """LFC: the file gets another name, a new one begins, and of the old one remains the last line of each address."""
    with path.open("w") as file:
        file.write(HEADER + line("a", 0))
        file.flush()
        kea = source(path)
        kea.poll(NOW)
        file.write(line("b", 30))  # not read yet when the name is taken away
    path.rename(path.with_name(path.name + ".1"))
    assert holdings(kea.poll(NOW)) == [("a", 0, 30), ("b", 30, 130)]  # the old one is read to its end
    assert kea.status(NOW).error is None
    path.write_text(HEADER + line("b", 80))
    path.with_name(path.name + ".1").unlink()
    path.with_name(path.name + ".2").write_text(HEADER + line("b", 30))
    assert holdings(kea.poll(NOW)) == [("a", 0, 30), ("b", 30, 180)]
    # Who begins now reads what Kea would, and remembers what was saved.
    fresh = source(path)
    assert holdings(fresh.poll(NOW)) == [("b", 30, 180)]
    fresh = source(path)
    fresh.restore(kea._leases.rows(LABELS))
    assert holdings(fresh.poll(NOW)) == [("a", 0, 30), ("b", 30, 180)]


@pytest.mark.parametrize("completed", [False, True])
def test_the_files_of_a_clean_up_under_way_are_read_in_keas_order(path: Path, completed: bool) -> None:
    path.with_name(path.name + ".2").write_text(HEADER + line("a", 0))
    path.with_name(path.name + ".1").write_text(HEADER + line("b", 30))
    if completed:
        path.with_name(path.name + ".completed").write_text(HEADER + line("b", 31))
    path.write_text(HEADER + line("c", 60))
    expected = [("b", 31, 60)] if completed else [("a", 0, 30), ("b", 30, 60)]
    assert holdings(source(path).poll(NOW)) == [*expected, ("c", 60, 160)]


def test_a_copy_that_has_grown_goes_on_where_it_was(path: Path) -> None:
    """As rsync brings it: each time another file with all lines."""
    lines = [line("a", 0), line("b", 30), line("a", 60), line("b", 90)]
    kea = source(path)
    for count in range(1, 5):
        draft = path.with_suffix(".new")
        draft.write_text(HEADER + "".join(lines[:count]))
        draft.replace(path)
        found = holdings(kea.poll(NOW))
    assert found == [("a", 0, 30), ("a", 60, 90), ("b", 30, 60), ("b", 90, 190)]


def test_a_file_written_anew_in_its_place_keeps_what_was_known(path: Path) -> None:
    path.write_text(HEADER + line("a", 0) + line("b", 30) + line("b", 80))
    kea = source(path)
    kea.poll(NOW)
    path.write_text(HEADER + line("b", 80))
    assert holdings(kea.poll(NOW)) == [("a", 0, 30), ("b", 30, 180)]


def test_no_file_and_another_file_are_errors_and_leases_stay(path: Path) -> None:
    kea = source(path)
    assert kea.poll(NOW) is None
    assert "No such file" in str(kea.status(NOW).error)
    path.write_text("prefix,from,to\n")
    assert kea.poll(NOW) is None
    assert "is no Kea lease file" in str(kea.status(NOW).error)
    path.write_text(HEADER + line("a", 0))
    assert holdings(kea.poll(NOW)) == [("a", 0, 100)]
    assert kea.status(NOW).error is None
    path.unlink()
    kea.poll(NOW)
    assert kea.status(NOW).leases == 1


def test_restored_leases_are_in_force_without_a_file_and_end_when_the_log_says(path: Path) -> None:
    path.write_text(HEADER + line("a", 0, 4_294_967_295) + line("c", 0, 500, address="192.0.2.2"))
    before = source(path)
    rows = before.poll(NOW)
    assert rows is not None
    path.unlink()
    kea = source(path)
    kea.restore(rows)
    assert holdings(kea.poll(NOW)) == [("a", 0, -1), ("c", 0, 500)]
    path.write_text(HEADER + line("b", 70) + line("c", 90, 0, address="192.0.2.2"))
    assert holdings(kea.poll(NOW)) == [("a", 0, 70), ("b", 70, 170), ("c", 0, 90)]


def test_what_ended_long_ago_is_forgotten(path: Path) -> None:
    kea = source(path, most=10**6, history_seconds=1_000)
    text = [HEADER]
    for at in range(0, 60_000, 10):
        text.append(line(f"c{at}", at, 10, address=f"10.0.{at // 10 % 40}.1"))
    path.write_text("".join(text))
    rows = kea.poll(60_000)
    assert rows is not None
    assert len(rows) == len(rows.subscribers) == 100 + 1  # the last 1,000 seconds, and the one that ends just then
    with path.open("a") as file:
        file.write(line("c59990", 59_995, 10, address="10.0.39.1"))
    assert ("c59990", 59_990, 60_005) in holdings(kea.poll(60_000))


ACCESS = ("ipoe", "pppoe")  # a tenth of these change hands a day
Write = Callable[..., int]


@pytest.fixture(scope="module")
def population() -> Population:
    return populate(PLAN, 1)


@pytest.fixture(scope="module")
def leases(population: Population) -> Leases:
    return lease(PLAN, population, 1, BEGIN, BEGIN + 3 * DAY, "Asia/Tokyo")


def named(rows: LeaseRows) -> set[Holding]:
    return {
        (
            str(IPv6Address(int(rows.high[row]) << 64 | int(rows.low[row]))), int(rows.bits[row]),
            int(rows.since[row]), int(rows.until[row]), rows.subscribers[rows.subscriber[row]],
        )
        for row in range(len(rows))
    }  # fmt: skip


@pytest.mark.parametrize(("write", "family"), [(write_kea4, 4), (write_kea6, 6)])
def test_the_simulated_networks_leases_are_found_again(
    tmp_path: Path, leases: Leases, population: Population, write: Write, family: Family
) -> None:
    path, end = tmp_path / "leases.csv", BEGIN + 3 * DAY
    write(path, leases, population, BEGIN, end, access=ACCESS)
    kea = by_relay(path, family)
    rows = kea.poll(end / 1000)
    assert rows is not None
    assert kea.bad_lines == 0
    accesses = np.array([population.labels_of(int(user))[2] for user in leases.user])
    mine = np.flatnonzero(
        (leases.is_v4 == (family == 4))
        & np.isin(accesses, ACCESS)
        & (leases.since_ms < end)
        & (leases.until_ms > BEGIN)
    )
    assert len(rows) == len(mine)
    found = {(one[0], one[4], one[2] // 1000): one for one in named(rows)}
    handed_over = 0
    for row in mine.tolist():
        address, who = str(IPv6Address(leases.address[row].tobytes())), population.subscriber[int(leases.user[row])]
        begins = [key for key in found if key[:2] == (address, who) and key[2] * 1000 < leases.until_ms[row]]
        _, bits, since, until, _ = found[max(begins, key=lambda key: key[2])]
        assert bits == leases.bits[row]
        if leases.since_ms[row] >= BEGIN:
            assert since == leases.since_ms[row] // 1000 * 1000
        else:
            assert leases.since_ms[row] - 1000 < since < BEGIN
        if leases.until_ms[row] < end:
            assert until == leases.until_ms[row] // 1000 * 1000
            handed_over += 1
        else:
            assert end <= until <= end + 7_200_000
    assert handed_over > 5 or family == 6


@pytest.mark.parametrize("seed", range(3))
def test_it_is_all_the_same_in_which_pieces_the_file_comes(
    tmp_path: Path, leases: Leases, population: Population, seed: int
) -> None:
    whole, path, end = tmp_path / "whole.csv", tmp_path / "leases.csv", BEGIN + 3 * DAY
    write_kea4(whole, leases, population, BEGIN, end, access=ACCESS)
    once = by_relay(whole).poll(end / 1000)
    assert once is not None
    header, *lines = whole.read_bytes().splitlines(keepends=True)
    random = np.random.default_rng(seed)
    kea = by_relay(path)
    path.write_bytes(header)
    last: LeaseRows | None = None
    for piece in np.array_split(np.array(lines, object), 40):
        data = b"".join(piece.tolist())
        at = int(random.integers(0, len(data) + 1))
        for part in (data[:at], data[at:]):
            with path.open("ab") as file:
                file.write(part)
            if random.random() < 0.6:
                last = kea.poll(end / 1000) or last
        if random.random() < 0.3:  # one clean-up between two looks: of two the first one's end would be gone
            path.rename(path.with_name("leases.csv.1"))
            path.write_bytes(header)
            last = kea.poll(end / 1000) or last
    last = kea.poll(end / 1000) or last
    assert last is not None
    assert named(last) == named(once)


def test_a_file_that_is_renamed_at_the_start_is_read_once(path: Path) -> None:
    path.write_text(HEADER + line("a", 0) + line("b", 30))
    path.with_name(path.name + ".1").hardlink_to(path)  # as if it got that name between two looks of the reader
    assert holdings(source(path).poll(NOW)) == [("a", 0, 30), ("b", 30, 130)]
