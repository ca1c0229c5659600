"""``flowtide sql`` to a server over its native protocol, whose answers have no formats: they are written here."""

import csv
import io
import json
from collections.abc import Callable

import pyarrow as pa

from flowtide.errors import Failure
from flowtide.settings import Settings
from sinks import StoreRefused, StoreUnavailable


def ask_native(settings: Settings, sql: str, output: str) -> bytes:
    """The answer's bytes; Failure, also for a format that is not written here."""
    try:
        from sinks.native import NativeStore
    except ImportError as error:
        raise Failure(f"clickhouse:// needs the extra native (pip install 'flowtide[native]'): {error}") from None
    write = _FORMATS.get(output, _FORMATS["TSVWithNames"] if output.startswith("Pretty") else None)
    if write is None:
        raise Failure(f"--format {output} is written by a server over HTTP only; here: {', '.join(_FORMATS)}")
    chosen = settings.store
    try:
        store = NativeStore(
            chosen.url, user=chosen.user, password=chosen.password.get_secret_value(), database=chosen.database,
            ca_file=chosen.ca_file, readonly=True,
        )  # fmt: skip
    except ValueError as error:
        raise Failure(f"store.url: {error}") from None
    try:
        return write(store.query(sql))
    except (StoreRefused, StoreUnavailable) as error:
        raise Failure(str(error)) from None
    finally:
        store.close()


def _separated(by: str, *, names: bool) -> Callable[[pa.Table], bytes]:
    def write(table: pa.Table) -> bytes:
        out = io.StringIO()
        rows = csv.writer(out, delimiter=by, lineterminator="\n")
        rows.writerows([table.column_names] if names else [])
        rows.writerows(row.values() for row in table.to_pylist())
        return out.getvalue().encode()

    return write


def _json_lines(table: pa.Table) -> bytes:
    return b"".join(json.dumps(row, default=str).encode() + b"\n" for row in table.to_pylist())


_FORMATS: dict[str, Callable[[pa.Table], bytes]] = {
    "CSV": _separated(",", names=False),
    "CSVWithNames": _separated(",", names=True),
    "TSV": _separated("\t", names=False),
    "TSVWithNames": _separated("\t", names=True),
    "TabSeparated": _separated("\t", names=False),
    "TabSeparatedWithNames": _separated("\t", names=True),
    "JSONEachRow": _json_lines,
}
