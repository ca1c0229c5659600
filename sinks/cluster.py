"""The same DDL for a cluster: replicated tables, and a second database that reads all shards; pure text.

One setting (``store.cluster``) decides.  Every table keeps its name in ``store.database`` and is replicated within its
shard: there sinks write and rollups are made.  ``<database>_all`` has a distributed table of the same name for each,
and the same views over them: there people, panels and reports read, with the same SQL.  A message is never written
through a distributed table, which might send its repeat to another shard (ours have no sharding key, so the server
refuses it): a sink's ``store.url`` is a replica of its shard, and partition p belongs to shard ``shard_of(p, shards)``.
"""

import re
from collections.abc import Iterable, Sequence

WEEK_SECONDS = 7 * 86_400
"""Tokens are forgotten after an hour by default: shorter than an outage after which a sink repeats."""

# The window by count is of plain tables; replicated ones have their own, and a time beside it.
_PLAIN_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")
_REPLICATED = rf"replicated_deduplication_window = \1, replicated_deduplication_window_seconds = {WEEK_SECONDS}"
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)(.*?)\bENGINE = (\w*MergeTree)(?:\(([^\n]*)\))?", re.DOTALL)
_ALTER = re.compile(r"ALTER TABLE (\w+)")
_VIEW = re.compile(r"CREATE OR REPLACE VIEW (\w+)")
_FUNCTION = re.compile(r"(CREATE (?:OR REPLACE )?FUNCTION(?: IF NOT EXISTS)?) (\w+)")
_DICTIONARY = re.compile(r"CREATE OR REPLACE DICTIONARY (\w+)")
_SOURCE = re.compile(r"SOURCE\(CLICKHOUSE\(TABLE '(\w+)'\)\)")
_CODEC = re.compile(r" CODEC\((?:[^()]|\([^()]*\))*\)")
# One of each for the whole cluster: what is written once, and not a shard.
_OF_ALL_SHARDS = frozenset({
    "schema_version", "setting", "network_name", "accounting_1d", "accounting_import", "subscriber_seen_1d",
    "subscriber_name", "report_week", "report_week_hour", "report_week_user", "report_week_port",
})  # fmt: skip


class NotForClusters(Exception):  # noqa: N818 - a state, told by its name
    """A statement that has no replicated form."""


def shard_of(partition: int, shards: int) -> int:
    """The shard, from 0, whose replicas store a partition of the bus: its flows and all that is made of them."""
    return partition % shards


def named(plain: Iterable[str]) -> frozenset[str]:
    """Tables and views that statements make."""
    return frozenset(found[1] for statement in plain if (found := _TABLE.match(statement) or _VIEW.match(statement)))


def databases(cluster: str, database: str) -> tuple[str, ...]:
    """The statements before the first migration."""
    return tuple(f"CREATE DATABASE IF NOT EXISTS {name} ON CLUSTER {cluster}" for name in (database, f"{database}_all"))


def statements_on(cluster: str, database: str, plain: Sequence[str], names: frozenset[str]) -> tuple[str, ...]:
    """The statements of a migration as a cluster runs them; ``names``: what views may read, of all migrations.

    NotForClusters for a statement of another kind than migrations have.
    """
    found: list[str] = []
    for statement in plain:
        found += _on(cluster, database, statement, names)
    return tuple(found)


def missing_window(create: str, count: int) -> str | None:
    """The deduplication setting that a table lacks, by its CREATE statement; None: it has what it needs."""
    if "ENGINE = Replicated" not in create:
        wanted = [f"non_replicated_deduplication_window = {count}"]
    else:
        create = _PLAIN_WINDOW.sub("", create)
        wanted = [f"replicated_deduplication_window = {count}",
                  f"replicated_deduplication_window_seconds = {WEEK_SECONDS}"]  # fmt: skip
    return next((setting for setting in wanted if setting not in create), None)


def _on(cluster: str, database: str, statement: str, names: frozenset[str]) -> list[str]:
    on = f"ON CLUSTER {cluster}"
    if found := _TABLE.match(statement):
        name, columns, engine, arguments = found.groups()
        # The default path has the table's {uuid}: a replica made later would not meet the others'.
        shard, replica = ("all", "{shard}-{replica}") if name in _OF_ALL_SHARDS else ("{shard}", "{replica}")
        place = f"'/clickhouse/tables/{shard}/{{database}}/{name}', '{replica}'"
        engine = f"Replicated{engine}({place}{', ' + arguments if arguments else ''})"
        made = f"CREATE TABLE IF NOT EXISTS {name} {on}{columns}ENGINE = {engine}"
        made += _PLAIN_WINDOW.sub(_REPLICATED, statement[found.end() :])
        if name in _OF_ALL_SHARDS:
            return [made, f"CREATE OR REPLACE VIEW {database}_all.{name} {on} AS SELECT * FROM {database}.{name}"]
        return [made, f"CREATE TABLE IF NOT EXISTS {database}_all.{name} {on} AS {database}.{name}\n"
                      f"ENGINE = Distributed({cluster}, {database}, {name})"]  # fmt: skip
    if found := _ALTER.match(statement):
        name, rest = found[1], statement[found.end() :]
        made = f"ALTER TABLE {name} {on}{_PLAIN_WINDOW.sub(_REPLICATED, rest)}"
        if re.match(r"\s+(ADD|RENAME|DROP|COMMENT|MODIFY) COLUMN", rest):
            return [made, f"ALTER TABLE {database}_all.{name} {on}{_CODEC.sub('', rest)}"]
        return [made]
    if found := _VIEW.match(statement):
        name, rest = found[1], statement[found.end() :]
        read = re.compile(rf"\b(FROM|JOIN)(\s+)({'|'.join(sorted(names, key=len, reverse=True))})\b(?!\s*[.(])")
        everywhere = read.sub(rf"\1\2{database}_all.\3", rest)
        return [f"CREATE OR REPLACE VIEW {name} {on}{rest}",
                f"CREATE OR REPLACE VIEW {database}_all.{name} {on}{everywhere}"]  # fmt: skip
    if found := _DICTIONARY.match(statement):
        rest = statement[found.end() :]
        return [
            f"CREATE OR REPLACE DICTIONARY {where}.{found[1]} {on}"
            + _SOURCE.sub(rf"SOURCE(CLICKHOUSE(DB '{where}' TABLE '\1'))", rest)
            for where in (database, f"{database}_all")
        ]
    if found := _FUNCTION.match(statement):
        return [f"{found[1]} {found[2]} {on}{statement[found.end() :]}"]
    raise NotForClusters(f"no form for a cluster: {statement[:60]!r}; write one in sinks/cluster.py")
