"""Who may read what on a server: one table of grants, and the files made of it for operators.

``deploy/clickhouse/grants.sql`` (roles) and ``users.xml`` (Grafana's user) are rendered from here and compared in a
test; a table or view without an entry fails it.  The engine in process has no users: there ``http.hidden_tables``.
"""

from typing import Literal
from xml.sax.saxutils import escape

Role = Literal["noc", "engineer", "analyst", "names", "admin"]
ROLES: dict[Role, str] = {
    "noc": "rollups, quality and names; nothing of single subscribers, no raw flows",
    "engineer": "all that is read, with subscribers as pseudonyms",
    "analyst": "days by group, groups of fewer than 20 subscribers left out",
    "names": "who a pseudonym is, beside another role; grant it to few",
    "admin": "everything in the database",
}

_ENGINEERS: frozenset[Role] = frozenset({"engineer"})
_NOC: frozenset[Role] = frozenset({"noc", "engineer"})
_ALL: frozenset[Role] = frozenset({"noc", "engineer", "analyst"})
_NOBODY: frozenset[Role] = frozenset()

GRANTS: dict[str, frozenset[Role]] = {
    # Raw, and what names a subscriber.
    **dict.fromkeys(
        ("flows", "v_flow", "v_flows", "subscriber_1d", "v_subscribers", "accounting_1d", "v_accounting", "v_user_day",
         "subscriber_seen_1d", "v_subscribers_seen"), _ENGINEERS),
    "subscriber_name": frozenset({"names"}),
    # Rollups.
    **dict.fromkeys(
        ("bucket_1m", "bucket_5m", "bucket_1h", "bucket_end_5m", "port_1h", "port_1d", "interface_1m", "exporter_1m",
         "talker_5m", "as_5m", "lease_coverage_5m", "v_bucket_1m", "v_buckets", "v_buckets_5m", "v_buckets_1h",
         "v_buckets_end", "v_ports", "v_ports_1d", "v_interfaces", "v_exporters", "v_talkers", "v_as"), _NOC),
    # Observations, delivery, names.
    **dict.fromkeys(
        ("exporter_health_1m", "stage_1m", "interface_counter", "exporter_name", "v_exporter_name", "v_quality",
         "audit_1m", "bus_skipped", "bus_stream", "rollup_cut", "network_name", "v_network_prefixes", "v_network_as",
         "setting", "accounting_import", "alert_history"),
        _NOC),
    # Frozen weeks and months: no subscriber is in them.
    **dict.fromkeys(
        ("report_week", "report_week_hour", "report_week_user", "report_week_port", "v_report_week",
         "v_report_week_hour", "v_report_week_user", "v_report_week_port", "v_volume_month"), _NOC),
    "v_groups_1d": _ALL,
    # Of the sink's own work and the migrations': admins.
    **dict.fromkeys(
        ("flow_range", "port_range", "rollup_plan", "rollup_start", "rollup_hold", "schema_version"),
        _NOBODY),
}  # fmt: skip
"""Roles that may read each table and view, admin aside, who may all.  A new table states its grants here."""

DICTIONARIES: dict[str, frozenset[Role]] = {"network_by_prefix": _NOC, "network_by_asn": _NOC}

_LIMITS = {"max_execution_time": 60, "max_memory_usage": 2 << 30, "max_result_rows": 1_000_000}
"""As the HTTP port's readers have them (``HttpSettings``)."""
_LONGEST_SECONDS = 100  # Grafana's data source asks for what is left of its own minute and 5 s more


def readable(role: Role) -> list[str]:
    """Tables and views of a role, in order."""
    return sorted(name for name, roles in GRANTS.items() if role in roles)


def grants_sql(database: str) -> str:
    """The roles as statements; may be run again, after an upgrade too: what was granted before is taken back first."""
    lines = ["-- Rendered from sinks/grants.py: run it as an administrator of the server, again after an upgrade.",
             "-- A person's user: CREATE USER ann IDENTIFIED BY '…'; GRANT noc TO ann;", ""]  # fmt: skip
    for role, what in ROLES.items():
        lines += [
            f"-- {role}: {what}.",
            f"CREATE ROLE IF NOT EXISTS {role};",
            f"REVOKE ALL ON {database}.* FROM {role};",
        ]
        if role == "admin":
            lines += [f"GRANT ALL ON {database}.* TO admin;", ""]
            continue
        lines += [f"GRANT SELECT ON {database}.{name} TO {role};" for name in readable(role)]
        lines += [
            f"GRANT dictGet ON {database}.{name} TO {role};" for name, roles in DICTIONARIES.items() if role in roles
        ]
        limits = ", ".join(
            f"{name} = {value} MIN 1 MAX {_LONGEST_SECONDS} CHANGEABLE_IN_READONLY"
            if name == "max_execution_time"
            else f"{name} = {value} CONST"
            for name, value in _LIMITS.items()
        )
        lines += [f"CREATE SETTINGS PROFILE OR REPLACE {role}_limits SETTINGS readonly = 1, {limits} TO {role};", ""]
    return "\n".join(lines).rstrip() + "\n"


def users_xml(database: str) -> str:
    """Grafana's user, for the server's ``users.d``: what ``noc`` may read, and may choose its time-out only.

    Grafana restricts no SQL by role, even an anonymous viewer may send any: this user is the restriction.  The data
    source sends max_execution_time with every query, which readonly = 1 refuses unless it is changeable.
    """

    def part(name: str, inner: str, indent: int) -> str:
        return f"{' ' * indent}<{name}>{inner}</{name}>"

    settings = [part("readonly", "1", 12)] + [part(name, str(value), 12) for name, value in _LIMITS.items()]
    grants = [f"GRANT SELECT ON {database}.{name}" for name in readable("noc")]
    grants += [f"GRANT dictGet ON {database}.{name}" for name, roles in DICTIONARIES.items() if "noc" in roles]
    lines = [
        "<clickhouse>",
        "    <!-- Rendered from sinks/grants.py.  FLOWTIDE_GRAFANA_SHA256: SHA-256 of the password, hexadecimal. -->",
        "    <profiles>",
        "        <flowtide_grafana>",
        *settings,
        "            <constraints>",
        "                <max_execution_time>",
        f"                    <min>1</min><max>{_LONGEST_SECONDS}</max>",
        "                    <changeable_in_readonly/>",
        "                </max_execution_time>",
        "            </constraints>",
        "        </flowtide_grafana>",
        "    </profiles>",
        "    <users>",
        "        <grafana>",
        '            <password_sha256_hex from_env="FLOWTIDE_GRAFANA_SHA256"/>',
        "            <networks><ip>::/0</ip></networks>",
        "            <profile>flowtide_grafana</profile>",
        "            <quota>default</quota>",
        part("default_database", escape(database), 12),
        "            <grants>",
        *(part("query", escape(grant), 16) for grant in grants),
        "            </grants>",
        "        </grafana>",
        "    </users>",
        "</clickhouse>",
    ]
    return "\n".join(lines) + "\n"
