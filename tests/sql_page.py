"""Writes ``deploy/SQL.md`` from the worked queries, the views and the functions; a test compares."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from sinks.comments import TABLES
from sinks.queries import GROUPS, WorkedQuery

PAGE = Path(__file__).parent.parent / "deploy" / "SQL.md"
_ROWS = 3  # of an answer: enough to see its shape
_HEADINGS = {"NOC": "For the NOC", "engineers": "For engineers", "trust": "Can the figures be trusted?",
             "report": "For the report"}  # fmt: skip

_INTRO = """# SQL

This page is written from the code: every query below runs in the tests, as a reader, with the answer shown here.

Ask at the HTTP port (embedded) or the server; anything that speaks ClickHouse's HTTP interface will do:

    curl 'http://127.0.0.1:8123/?default_format=PrettyCompact' --data 'SELECT * FROM v_flows ORDER BY time DESC LIMIT 5'

The names below belong to the database `flowtide`, which is the port's default; with a server name it in the URL
(`database=flowtide`). Values are parameters: `param_since=2026-09-21 13:00:00` in the URL fills
`{since:DateTime('UTC')}`.

## Tables and views

Views have stable names, and words for numbers; a table of the same kind is faster to sum and must be summed: its rows
are not merged at once. Both have comments with unit and source:
`SELECT name, comment FROM system.columns WHERE database = 'flowtide' AND table = 'v_flows'`.

- Time is the flow's end. Tables that are spread (`bucket_1m`, `_5m`, `_1h`, `interface_1m`) share a long flow out over
  the minutes it lasted: for volumes. All others count it at its end: for shares and days.
- `octets_est` and `packets_est` are scaled by the sampling interval. What was sampled is `octets` in tables and
  `sampled_octets` in views. Raw rows with `sound = 0` are for looking at, not for sums.
- `direction`: 0 none, 1 in (upload), 2 out (download), as the subscriber's side is.
- `copy`: 0 the flow, 1 the same flow seen from its other subscriber, 2 a reverse half: sums of a network leave out 1.
"""

_FUNCTIONS = """## Functions

They belong to the whole server. A share of nothing is NULL, never NaN.

| function | gives |
|---|---|
"""
_MEANING = {
    "network_of(address)": "name of the longest prefix of networks.csv, or empty",
    "network_of_as(asn)": "name of the AS in networks.csv, or empty",
    "address_of(address)": "the address as people write it",
    "in_prefix_of(address, prefix)": "whether it lies in '192.0.2.0/24' or '2001:db8::/32'",
    "prefix_range_of(prefix)": "first and last address of a prefix",
    "direction_of(direction)": "none, in, out",
    "protocol_of(proto)": "tcp, udp, icmp ...; other protocols by number",
    "lower_port_of(proto, src_port, dst_port)": "lower of both ports of TCP and UDP, else 0",
    "bucket_of(proto, src_port, dst_port)": "service bucket, of the fourteen that every site has",
    "share_of(part, whole)": "part / whole; NULL of nothing",
    "quic_of_all(bucket, octets)": "QUIC by port, Q1: UDP 443 of all; an aggregate",
    "quic_of_443(bucket, octets)": "Q2: UDP 443 of TCP and UDP 443; an aggregate",
    "quic_of_udp(bucket, octets)": "Q3: UDP 443 of UDP; an aggregate",
    "error_of(share, sampled_packets)": "half the 95 % interval of a share from so many sampled packets",
    "log_histogram_of(octets)": "values by tenth of a decade: ([bin], [number]); an aggregate",
    "mode_of(histogram)": "mode on the grid of twentieths of a decade, as reports print it; NULL of nothing",
    "fullest_bin_of(histogram)": "the fullest bin, the lowest on a tie",
    "number_in_bin_of(histogram, bin)": "how many values the bin has",
    "parabola_step_of(below, top, above)": "-1, 0 or 1 twentieths: where the parabola through three bins has its top",
}


def functions() -> dict[str, str]:
    """The parameters of every function the migrations make, by its name."""
    text = "\n".join(
        file.read_text(encoding="utf-8")
        for file in files("sinks").joinpath("ddl").iterdir()
        if file.name.endswith(".sql")
    )
    return dict(re.findall(r"CREATE OR REPLACE FUNCTION (\w+) AS \(([^)]*)\)", text))


def described() -> dict[str, str]:
    """The parameters of every function the page tells of."""
    return {form.partition("(")[0]: form.partition("(")[2].rstrip(")") for form in _MEANING}


def page(answers: Sequence[tuple[WorkedQuery, list[str], list[list[Any]]]]) -> str:
    """The page's text; each query with column names and rows of its answer."""
    parts = [_INTRO, "| name | holds |\n|---|---|"]
    parts += [f"| `{name}` | {text} |" for name, text in TABLES.items() if name.startswith("v_")]
    parts += [f"| `{name}` | {text} |" for name, text in TABLES.items() if not name.startswith("v_")]
    parts += ["", _FUNCTIONS + "\n".join(f"| `{form}` | {text} |" for form, text in _MEANING.items()), ""]
    parts += ["## Worked queries", "", f"{len(answers)} questions; the files are `sinks/queries/*.sql`.", ""]
    for group in GROUPS:
        parts += [f"### {_HEADINGS[group]}", ""]
        for query, names, rows in answers:
            if query.group == group:
                parts += _section(query, names, rows)
    return "\n".join(parts).rstrip() + "\n"


def _section(query: WorkedQuery, names: list[str], rows: list[list[Any]]) -> list[str]:
    reads = ", ".join(f"`{table}`" for table in query.reads)
    values = ", ".join(f"`{name} = {value}`" for name, value in query.example.items())
    more = len(rows) - _ROWS
    return [
        f"#### {query.question}",
        "",
        f"`{query.name}` reads {reads}." + (f" {query.note}" if query.note else ""),
        "",
        "```sql",
        query.sql,
        "```",
        "",
        f"With {values}:",
        "",
        "| " + " | ".join(names) + " |",
        "|" + "---|" * len(names),
        *("| " + " | ".join(_shown(value) for value in row) + " |" for row in rows[:_ROWS]),
        *([f"\n... and {more} more row{'s' * (more > 1)}."] if more > 0 else []),
        "",
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"{value:.5g}" if isinstance(value, float) and abs(value) < 100_000 else (
        f"{value:.0f}" if isinstance(value, float) else str(value).replace("|", "\\|")
    )  # fmt: skip
