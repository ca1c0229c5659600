"""What all tests share: a skip is a failure where CI says so."""

import os
from collections.abc import Generator

import pytest

NO_SKIP = os.environ.get("FLOWTIDE_NO_SKIP") == "1"


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
