"""The rest of what is kept of users, straight in the tables: volumes from billing, and who held a lease.

As the daily imports leave them: octets of IPoE users from the wholesale side, of mobile ones from the gateways, a set a
day and source.  Flows of these users are not needed for their volumes and never added to them.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pyarrow as pa

from flowtide.simulator.direct import Plan, day_octets, put, user_columns
from flowtide.simulator.population import ACCESSES, Population
from sinks import Store

SOURCES = {"ipoe": "wholesale", "mobile": "gateways"}
"""Who counts the octets, by access."""


def write_accounting(store: Store, population: Population, weeks: Sequence[date], plan: Plan) -> int:
    """Put the days of these weeks (local Mondays) in force for all users of SOURCES; a repeat changes nothing."""
    users = population.only(np.flatnonzero(np.isin(population.access, [ACCESSES.index(each) for each in SOURCES])))
    if not len(users):
        return 0
    columns, octets = user_columns(users, plan.key), day_octets(users, plan.scale)
    for monday in weeks:
        days = [monday + timedelta(number) for number in range(7)]
        parts, imports = [], []
        for access, source in SOURCES.items():
            own = np.flatnonzero(users.access == ACCESSES.index(access))
            for day, (sent, received) in zip(days, octets[:, :, own], strict=True):
                if len(own):
                    named = {name: column.take(pa.array(own)) for name, column in columns.items()}
                    volumes = {"in_octets": pa.array(sent), "out_octets": pa.array(received)}
                    parts.append(pa.table({**_of_set(day, source, len(own)), **named, **volumes}))
                    imports.append((day, source, len(own), int(sent.sum()), int(received.sum())))
        rows = pa.concat_tables(parts).append_column("volume_source", pa.array(["accounting"]).take(_zeros(parts)))
        put(store, "accounting_1d", rows, str(monday))
        # Behind its rows: so a set is in force as a whole or not at all.
        put(store, "accounting_import", import_rows(imports), str(monday))
    return len(users)


def write_seen(store: Store, population: Population, weeks: Sequence[date], plan: Plan) -> int:
    """Say of all users that they held a lease on every day of these weeks."""
    columns = user_columns(population, plan.key)
    for monday in weeks:
        days = [monday + timedelta(number) for number in range(7)]
        seen = pa.concat_tables(
            pa.table({**_of_set(day, "", len(population)), **columns}).drop_columns("source") for day in days
        )
        at = seen.column_names.index("made")
        put(
            store, "subscriber_seen_1d", seen.set_column(at, "made", seen["made"].cast(pa.timestamp("ms", "UTC"))),
            str(monday),
        )  # fmt: skip
    return len(population)


def made(day: date) -> datetime:
    """When a day's set is imported: in the morning after it."""
    return datetime.combine(day + timedelta(1), time(6), UTC)


def import_rows(sets: Sequence[tuple[date, str, int, int, int]]) -> pa.Table:
    """Rows of accounting_import: of each set its day, source, number of rows, octets in and out."""
    days, sources, counts, sent, received = zip(*sets, strict=True)
    return pa.table(
        {
            "day": pa.array(days, pa.date32()), "source": pa.array(sources),
            "made": pa.array([made(day) for day in days], pa.timestamp("us", "UTC")),
            "rows": pa.array(counts, pa.uint64()), "in_octets": pa.array(sent, pa.int64()),
            "out_octets": pa.array(received, pa.int64()), "checksum": pa.array(["simulated"] * len(days)),
        }
    )  # fmt: skip


def _of_set(day: date, source: str, rows: int) -> dict[str, pa.Array]:
    zeros = pa.array(np.zeros(rows, "i8"))
    return {
        "day": pa.array([day], pa.date32()).take(zeros),
        "source": pa.array([source]).dictionary_encode().take(zeros),
        "made": pa.array([made(day)], pa.timestamp("us", "UTC")).take(zeros),
    }


def _zeros(parts: Sequence[pa.Table]) -> pa.Array:
    return pa.array(np.zeros(sum(part.num_rows for part in parts), "i8"))
