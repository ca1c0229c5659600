"""The example report in ``deploy/report-example``: six simulated years in a store of their own, then the command.

``python -m tests.report_example FOLDER [--publish]`` makes it again.  All volumes are of a population that was fitted
to the published tables (``tests/report_fixture.py``); no line of it is a provider's.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

from flowtide.simulator.direct import write_weeks
from flowtide.simulator.direct_users import write_accounting, write_seen
from flowtide.simulator.months import write_months
from flowtide.simulator.population import SERVICES
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.report_fixture import PLAN, WEEKS, by_netflow, people_of, plan_of, write_year
from tests.stored import FOR_EVER, TIMEZONE

YEARS = range(2019, 2025)
BEFORE_THE_PANDEMIC = date(2020, 2, 10)
SCHOOL_WEEKS = (WEEKS[2023], date(2023, 9, 25), date(2024, 1, 29), WEEKS[2024])
"""Figure 2's."""


def fill(store: EmbeddedStore) -> None:
    """Six weeks of June, the others that figures want, and the months."""
    migrate(store, FOR_EVER, TIMEZONE)
    for year in YEARS:
        write_year(store, year)
    # The model has no port mix of 2019: its hours are of 2020's, its users of 2019's.
    hours = replace(PLAN, tables=("bucket_1h",), apart=("segment",))
    write_weeks(store, by_netflow(people_of(2019)), plan_of(2019), [WEEKS[2019]], hours)
    for year, monday in ((2020, BEFORE_THE_PANDEMIC), (2023, SCHOOL_WEEKS[1]), (2024, SCHOOL_WEEKS[2])):
        people = people_of(year)
        write_weeks(store, by_netflow(people), plan_of(year), [monday], PLAN)
        write_accounting(store, people, [monday], PLAN)
        write_seen(store, people, [monday], PLAN)
    people = people_of(YEARS[-1])
    totals = {
        (service, way): int(people.octets_a_day[people.of(service), way - 1].sum())
        for service in SERVICES for way in (1, 2)
    }  # fmt: skip
    write_months(store, date(2019, 6, 1), date(2024, 6, 1), PLAN, totals)


def main(out: Path, *options: str) -> int:
    """Fill a store, import the published years and write the report; the command's exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = EmbeddedStore(folder / "data" / "store")
        try:
            fill(store)
        finally:
            store.close()
        config = folder / "flowtide.toml"
        config.write_text(
            f'data = "{folder / "data"}"\ntimezone = "{TIMEZONE}"\n[store]\nraw_days = 0\nminute_days = 0\n'
        )
        others = ",".join(str(day) for day in (*(WEEKS[year] for year in YEARS), BEFORE_THE_PANDEMIC))
        for words in (
            ["import-published"],
            ["--week", str(WEEKS[2024]), "--compare", str(WEEKS[2023]), "--years", others,
             "--profile-weeks", ",".join(map(str, SCHOOL_WEEKS)), "--out", str(out.resolve()), *options],
        ):  # fmt: skip
            command = [sys.executable, "-m", "flowtide", "report", *words, "--config", str(config)]
            # No browser is found, so nothing is printed: a PDF of two megabytes has no place in a repository.
            environment = os.environ | {"PATH": str(Path(sys.executable).parent)}
            if status := subprocess.run(command, env=environment, check=False).returncode:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
