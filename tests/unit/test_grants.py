"""Every table states its grants, and the files for operators are what the table says."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from sinks.cluster import named
from sinks.grants import GRANTS, ROLES, grants_sql, readable, users_xml
from tests.unit.test_cluster_ddl import PLAIN

DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "clickhouse"


def test_every_table_and_view_states_its_grants() -> None:
    assert named(PLAIN) - set(GRANTS) == set(), "write who may read it into sinks/grants.py"
    assert set(GRANTS) - named(PLAIN) == set(), "no migration makes it"


@pytest.mark.parametrize(
    ("name", "text"), [("grants.sql", grants_sql("flowtide")), ("users.xml", users_xml("flowtide"))]
)
def test_the_files_for_operators_are_rendered(name: str, text: str) -> None:
    if os.environ.get("FLOWTIDE_GOLDEN") == "write":
        DEPLOY.mkdir(parents=True, exist_ok=True)
        (DEPLOY / name).write_text(text, encoding="utf-8")
    assert (DEPLOY / name).read_text(encoding="utf-8") == text, "look at the change, then FLOWTIDE_GOLDEN=write"


def test_who_may_not_see_subscribers() -> None:
    # By the columns that the migrations give the tables, not by the table of grants.
    with_subscribers = {
        name for statement in PLAIN for name in named([statement])
        if "sub_id" in statement.replace("uniqExact(r.sub_id)", "") or "src_addr" in statement
    }  # fmt: skip
    assert {"flows", "v_flow", "subscriber_1d", "v_subscribers"} <= with_subscribers
    for role in ("noc", "analyst"):
        assert not with_subscribers & set(readable(role))
    assert readable("analyst") == ["v_groups_1d"]


def test_grafanas_user_reads_only_and_may_choose_its_time_out() -> None:
    root = ET.fromstring(users_xml("flowtide"))
    profile = root.find("profiles/flowtide_grafana")
    user = root.find("users/grafana")
    assert profile is not None
    assert user is not None
    assert profile.findtext("readonly") == "1"
    assert profile.find("constraints/max_execution_time/changeable_in_readonly") is not None
    # The data source asks for what is left of its own 60 s and 5 more: 14, 34 and 64 were seen.
    assert int(profile.findtext("constraints/max_execution_time/max") or 0) >= 65
    queries = [query.text or "" for query in user.findall("grants/query")]
    assert queries
    assert all(query.startswith(("GRANT SELECT ON flowtide.", "GRANT dictGet ON flowtide.")) for query in queries)
    assert not any("subscriber" in query or ".flows" in query for query in queries)
    assert user.find("password") is None


def test_every_role_is_made_and_taken_back_first() -> None:
    lines = grants_sql("flowtide").splitlines()
    for role in ROLES:
        assert lines.index(f"CREATE ROLE IF NOT EXISTS {role};") < lines.index(f"REVOKE ALL ON flowtide.* FROM {role};")
