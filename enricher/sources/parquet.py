"""Leases from a Parquet file: the columns of the CSV, with typed times.

``from`` and ``to`` are timestamps with a zone (any unit; kept to the millisecond), ``to`` null while the lease is
held; the ports are integers of any width, null for the whole address; the others are strings, dictionaries of strings
included.  A row of values goes through the checks of the CSV, so both kinds refuse the same things.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from enricher.leases import LeaseRows
from enricher.sources import LeaseFileError
from enricher.sources.columns import PORTS, Problems, lease_rows
from enricher.sources.tables import check_columns

TIMES = ("from", "to")
_TEXT = pa.string()


def read_lease_parquet(path: Path, max_bytes: int) -> LeaseRows:
    """The file's leases; LeaseFileError for a file that is too large, unreadable, or has a bad row.

    The bound is on the file and, from its footer, on what it unfolds to: a dictionary of one long value can be
    repeated a million times in a few bytes.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise _too_large(path, max_bytes)
        with pyarrow.parquet.ParquetFile(path, memory_map=False) as file:
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            if sum(group.total_byte_size for group in groups) > max_bytes:
                raise _too_large(path, max_bytes)
            check_columns(file.schema_arrow.names, path, None)
            table = file.read(use_threads=False)
    except OSError as error:
        # Arrow raises OSError for a damaged file too; it has no number then.
        if error.errno is not None:
            reason = f"cannot be read: {error.strerror}"
            raise LeaseFileError(path, None, reason, kind="missing") from error
        raise LeaseFileError(path, None, f"is damaged: {_first_line(error)}") from error
    except (pa.ArrowException, ValueError) as error:
        raise LeaseFileError(path, None, f"is not Parquet: {_first_line(error)}") from error
    return _rows(table, path)


def _rows(table: pa.Table, path: Path) -> LeaseRows:
    problems = Problems()
    columns = {name: _column(name, table[name], path, problems) for name in table.column_names}
    rows = lease_rows(columns, problems)
    if problems.row is not None or rows is None:
        raise LeaseFileError(path, None, problems.reason, row=(problems.row or 0) + 1)
    return rows


def _column(name: str, column: pa.ChunkedArray, path: Path, problems: Problems) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
        kind = kind.value_type
    if name in TIMES:
        if not pa.types.is_timestamp(kind) or kind.tz is None:
            reason = f"the column {name} is {kind}, not a timestamp with a zone"
            raise LeaseFileError(path, None, reason, kind="columns")
        return _joined(column)
    if name in PORTS:
        if not pa.types.is_integer(kind):
            raise LeaseFileError(path, None, f"the column {name} is {kind}, not an integer", kind="columns")
        return pc.fill_null(_joined(pc.cast(column, _TEXT)), "")
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise LeaseFileError(path, None, f"the column {name} is {kind}, not a string", kind="columns")
    if column.null_count:
        if name != "group":
            problems.add(int(pc.index(pc.is_null(column), value=True).as_py()), f"the {name} is null")
        column = pc.fill_null(column, "")
    return pc.utf8_trim_whitespace(_joined(pc.cast(column, _TEXT)))


def _joined(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)


def _too_large(path: Path, max_bytes: int) -> LeaseFileError:
    return LeaseFileError(path, None, f"is larger than {max_bytes:,} bytes (setting lease_file_bytes)", kind="size")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
