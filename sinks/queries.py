"""The worked queries: ``queries/*.sql``, each a question, the tables it reads and an example.

The first comment lines of a file are the question, notes, and ``group``, ``reads`` and ``example`` (values of its
parameters).  They are for people and screens; tests run each of them on known flows and on an empty store.
"""

import re
from dataclasses import dataclass
from importlib.resources import files

GROUPS = ("NOC", "engineers", "trust", "report")
"""For whom a question is, in the order of the page."""

_FACTS = ("group", "reads", "example")


@dataclass(frozen=True, slots=True)
class WorkedQuery:
    """One file; ``sql`` is without its head."""

    name: str
    question: str
    note: str
    group: str
    reads: tuple[str, ...]  # tables, the narrowest that answer it
    example: dict[str, str]  # values of its parameters, as text
    sql: str

    @property
    def parameters(self) -> dict[str, str]:
        """ClickHouse types of the parameters by name."""
        return dict(re.findall(r"\{(\w+):([^}]+)\}", self.sql))


def worked_queries() -> list[WorkedQuery]:
    """All of them, in the order of the page; ValueError for a file without its head."""
    found = [
        _parsed(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in files("sinks").joinpath("queries").iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda query: (GROUPS.index(query.group), query.name))


def _parsed(name: str, text: str) -> WorkedQuery:
    lines = text.splitlines()
    size = next((number for number, line in enumerate(lines) if not line.startswith("-- ")), len(lines))
    head = [line.removeprefix("-- ") for line in lines[:size]]
    facts = {key: value for key, _, value in (line.partition(": ") for line in head) if key in _FACTS}
    words = [line for line in head if line.partition(": ")[0] not in _FACTS]
    if not words or facts.get("group") not in GROUPS or not facts.get("reads"):
        raise ValueError(f"queries/{name}.sql: the head wants a question, group ({', '.join(GROUPS)}) and reads")
    example = dict(pair.split(" = ", 1) for pair in facts["example"].split(", ")) if "example" in facts else {}
    return WorkedQuery(
        name, words[0], " ".join(words[1:]), facts["group"], tuple(facts["reads"].split(", ")), example,
        "\n".join(lines[size:]).strip(),
    )  # fmt: skip
