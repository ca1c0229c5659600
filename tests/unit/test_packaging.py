from importlib.metadata import packages_distributions, requires
from importlib.resources import files

import pytest


def test_no_other_distribution_owns_our_names() -> None:
    owners = packages_distributions()  # an editable install owns no names at all
    for name in ("flowtide", "collector", "enricher", "sinks", "dashboards"):
        assert set(owners.get(name, ())) <= {"flowtide"}, owners[name]


def test_tables_and_rollups_are_shipped() -> None:
    assert any(entry.name.endswith(".sql") for entry in files("sinks").joinpath("ddl").iterdir())
    assert any(entry.name.endswith(".sql") for entry in files("sinks").joinpath("rollups").iterdir())


@pytest.mark.parametrize("copyleft", ["scapy"])
def test_copyleft_tools_are_for_developers_only(copyleft: str) -> None:
    lines = [line for line in requires("flowtide") or [] if line.startswith(copyleft)]
    assert lines
    assert all("extra == 'dev'" in line.replace('"', "'") for line in lines)
