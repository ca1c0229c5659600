"""What operators' systems would hand over about the simulated network: leases, accounting of volumes, interfaces.

Each file is written beside its place and renamed, so that a reader sees the old one or the new one, whole.
"""

import csv
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from flowtide.simulator.leases import LEASE_COLUMNS, Leases
from flowtide.simulator.population import ACCESSES, SEGMENTS, SERVICES, Population
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.templates import INTERFACES
from sinks.segments import written_beside

PORTS = ("port_from", "port_to")
"""Further columns where an address is shared: first and last port of the subscriber, both included."""

ACCOUNTING_COLUMNS = (
    "day", "user", "subscription", "service", "segment", "access", "volume_source", "in_octets", "out_octets",
)  # fmt: skip
"""Of an accounting import, a line a user and day.

``day``: local day, 2024-06-03.  ``user``: the identity that counts as one user, on mobile the line number.
``subscription``: what is billed, several users may have the same.  ``service``, ``segment`` and ``access`` as in
leases.  ``volume_source``: always ``accounting``.  ``in_octets``: from the user, ``out_octets``: to the user, whole
numbers, of that day.  A user without any octets has a line of zeros.
"""

INTERFACE_COLUMNS = ("exporter", "interface", "name", "description", "speed")
_SPEED = 100_000_000_000  # bits a second of every simulated interface

DayOctets = Callable[[int], NDArray[np.int64]]
"""Of a day's number: octets [from, to] of all users, (n, 2)."""


def lease_table(leases: Leases) -> pa.Table:
    """Columns of a lease file; those of ports only where an address is shared."""
    table = leases.table()
    whole = pc.and_(pc.equal(table["port_from"], 0), pc.equal(table["port_to"], 65_535))
    shared = not pc.all(whole).as_py() and table.num_rows > 0
    return table.select([*LEASE_COLUMNS, *(PORTS if shared else ())])


def write_lease_csv(path: Path, leases: Leases) -> int:
    """As ``enricher.sources.tables`` reads it: UTC in ISO 8601, no ``to`` while held; returns the leases."""
    table = lease_table(leases)
    for name in ("from", "to"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, pc.strftime(table[name], format="%Y-%m-%dT%H:%M:%SZ"))
    with written_beside(path) as draft, draft.open("wb") as file:
        file.write(",".join(table.column_names).encode() + b"\n")
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
        pyarrow.csv.write_csv(table, file, options)
    return int(table.num_rows)


def write_lease_parquet(path: Path, leases: Leases) -> int:
    """The same columns, with times as timestamps in milliseconds."""
    table = lease_table(leases)
    with written_beside(path) as draft:
        pyarrow.parquet.write_table(table, draft)
    return int(table.num_rows)


def accounting_table(
    population: Population, days: Sequence[date], octets: DayOctets | None = None,
    access: Sequence[str] = ("ipoe", "mobile"),
) -> pa.Table:  # fmt: skip
    """``ACCOUNTING_COLUMNS`` of the users of these accesses; ``octets`` by default are those of the mean day."""
    users = np.sort(np.concatenate([population.of(service, tuple(access)) for service in ("fixed", "mobile")]))
    parts = []
    for at, day in enumerate(days):
        count = (population.octets_a_day if octets is None else octets(at))[users]
        parts.append(
            pa.table(
                {
                    "day": pa.array([day] * len(users), pa.date32()),
                    "user": pa.array(population.name).take(pa.array(users)),
                    "subscription": pa.array(population.subscription).take(pa.array(users)),
                    "service": pa.array(SERVICES).take(pa.array(population.service[users])),
                    "segment": pa.array(SEGMENTS).take(pa.array(population.segment[users])),
                    "access": pa.array(ACCESSES).take(pa.array(population.access[users])),
                    "volume_source": pa.array(["accounting"] * len(users)),
                    "in_octets": pa.array(count[:, 0], pa.int64()),
                    "out_octets": pa.array(count[:, 1], pa.int64()),
                }
            )
        )  # fmt: skip
    return pa.concat_tables(parts)


def write_accounting(
    path: Path, population: Population, days: Sequence[date], octets: DayOctets | None = None,
    access: Sequence[str] = ("ipoe", "mobile"),
) -> int:  # fmt: skip
    """Parquet if the name ends so, CSV otherwise; returns the lines."""
    table = accounting_table(population, days, octets, access)
    with written_beside(path) as draft, draft.open("wb") as file:
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(table, file)
        else:
            file.write(",".join(table.column_names).encode() + b"\n")
            options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
            pyarrow.csv.write_csv(table, file, options)
    return int(table.num_rows)


def write_interfaces(path: Path, exporters: Sequence[ExporterPlan], speed: int = _SPEED) -> int:
    """The operator's table of interfaces (``collector.interfaces``); returns its lines."""
    with written_beside(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(INTERFACE_COLUMNS)
        for plan in exporters:
            for number, (name, description) in INTERFACES.items():
                writer.writerow((plan.source, number, name, description, speed))
    return len(exporters) * len(INTERFACES)
