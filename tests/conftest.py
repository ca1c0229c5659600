"""What all tests share: which are long, and that a skip is a failure where CI says so."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

NO_SKIP = os.environ.get("FLOWTIDE_NO_SKIP") == "1"
LONG = (
    "browser/test_alerts", "browser/test_dashboards", "browser/test_keyboard", "browser/test_report_page",
    "browser/test_sql", "end_to_end/test_alerts", "end_to_end/test_commands", "end_to_end/test_console",
    "end_to_end/test_kill", "end_to_end/test_live_exporters", "end_to_end/test_names_in_sql",
    "end_to_end/test_overload", "end_to_end/test_radius", "end_to_end/test_report_wire", "end_to_end/test_separate",
    "end_to_end/test_shared_leases", "end_to_end/test_simulate", "end_to_end/test_softflowd",
    "integration/test_alert_queries", "integration/test_alert_restarts", "integration/test_alert_values",
    "integration/test_back_fill", "integration/test_kafka_", "integration/test_lease_commands",
    "integration/test_outage_broker", "integration/test_rebuild", "integration/test_rekey",
    "integration/test_report_controls", "integration/test_report_direct", "integration/test_report_making",
    "integration/test_report_rules", "integration/test_rollup_laws", "integration/test_rollup_sql",
    "integration/test_store_backup", "kill_matrix/", "properties/test_exactly_once", "properties/test_generations",
)  # fmt: skip
"""Files that wait for processes, brokers, browsers or many rollups: `make test-long`, so that `make test` is short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of LONG."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder) and str(item.path.relative_to(folder)).startswith(LONG):
            item.add_marker("long")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """FLOWTIDE_NO_SKIP=1: this machine can run everything, so a skip hides something."""
    report = yield
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although FLOWTIDE_NO_SKIP=1: {report.longrepr}"
    return report
