"""A Kea server in ten lines, asked second by second, against what is read of its lease file."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.leases import LeaseRows
from enricher.sources.kea import KeaSource
from enricher.sources.kea_leases import Labels

HEADER = "address,client_id,valid_lifetime,expire,state\n"
ADDRESSES = ("10.0.0.1", "10.0.0.2")
CLOCK = "10.0.0.99"  # somebody renews all the time: the file's only clock
END = 60
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 8), st.sampled_from(ADDRESSES), st.sampled_from(["a", "b", "give back", "decline", "reclaim"]),
        st.integers(1, 12),
    ),
    max_size=14,
)  # fmt: skip


class Server:
    """Who holds each address in each second, and the lines that say so."""

    def __init__(self) -> None:
        self.held = {address: [""] * END for address in ADDRESSES}
        self.lines: list[str] = []
        self.known: dict[str, tuple[str, int, int]] = {}  # client, renewed, expire

    def happen(self, now: int, address: str, what: str, valid: int) -> None:
        self.lines.append(f"{CLOCK},clock,500,{now + 500},0\n")
        if what in ("a", "b"):
            self._set(address, now, what, valid)
            self.known[address] = (what, now, now + valid)
            self.lines.append(f"{address},{what},{valid},{now + valid},0\n")
            return
        if address not in self.known:
            return
        client, renewed, expire = self.known[address]
        if what == "reclaim":
            if now >= expire:
                self.lines.append(f"{address},,{expire - renewed},{expire},2\n")
            return
        if now >= expire:
            return
        self._set(address, now, "", 0)
        del self.known[address]
        # Of what is given back Kea repeats the time of the renewal, of what is declined it writes a new one.
        self.lines.append(
            f"{address},{client},0,{renewed},0\n" if what == "give back" else f"{address},,86400,{now + 86400},1\n"
        )

    def _set(self, address: str, now: int, client: str, valid: int) -> None:
        seconds = self.held[address]
        for at in range(now, END):
            seconds[at] = client if at < now + valid else ""

    def cleaned(self) -> list[str]:
        """What Kea's clean-up leaves of the lines: the last one of each address, unless it has no lifetime."""
        last = {line.partition(",")[0]: line for line in self.lines}
        return [line for _, line in sorted(last.items()) if line.split(",")[2] != "0"]


def read(source: KeaSource) -> LeaseRows:
    try:
        rows = source.poll(1_000)
        return rows if rows is not None else LeaseRows.empty()
    finally:
        source.close()


def seconds(rows: LeaseRows, address: str) -> list[str]:
    """By plain reading: the newest lease that has begun, of equal begins the later row."""
    low = 0xFFFF_0A00_0000 + int(address.rpartition(".")[2])
    mine = [
        (int(rows.since[row]), int(rows.until[row]), rows.subscribers[rows.subscriber[row]])
        for row in np.flatnonzero(rows.low == low).tolist()
    ]
    answers = []
    for at in range(0, END * 1000, 1000):
        begun = [lease for lease in mine if lease[0] <= at]
        newest = max(begun, key=lambda lease: lease[0]) if begun else (0, 0, "")
        newest = [lease for lease in begun if lease[0] == newest[0]][-1] if begun else newest
        answers.append(newest[2] if at < newest[1] else "")
    return answers


def source(path: Path) -> KeaSource:
    return KeaSource("kea", path, 4, "client_id", Labels(0, 0, 0, ""))


@settings(deadline=None)
@given(EVENTS)
def test_the_log_is_read_as_the_server_meant_it(events: list[tuple[int, str, str, int]]) -> None:
    server, now = Server(), 0
    for pause, address, what, valid in events:
        now = min(now + pause, END - 1)
        server.happen(now, address, what, valid)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leases.csv"
        path.write_text(HEADER + "".join(server.lines))
        rows = read(source(path))
    for address in ADDRESSES:
        assert seconds(rows, address) == server.held[address]


@settings(deadline=None)
@given(EVENTS, EVENTS)
def test_a_restart_after_a_clean_up_forgets_nothing(
    before: list[tuple[int, str, str, int]], after: list[tuple[int, str, str, int]]
) -> None:
    server, now = Server(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leases.csv"
        for pause, address, what, valid in before:
            now = min(now + pause, END - 1)
            server.happen(now, address, what, valid)
        path.write_text(HEADER + "".join(server.lines))
        saved = read(source(path))
        path.with_name("leases.csv.2").write_text(HEADER + "".join(server.cleaned()))
        server.lines.clear()
        for pause, address, what, valid in after:
            now = min(now + pause, END - 1)
            server.happen(now, address, what, valid)
        path.write_text(HEADER + "".join(server.lines))
        again = source(path)
        again.restore(saved)
        rows = read(again)
    for address in ADDRESSES:
        assert seconds(rows, address) == server.held[address]
