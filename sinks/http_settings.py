"""Which of ClickHouse's settings a reader of the HTTP port may choose, and within what limits."""

from collections.abc import Mapping
from typing import Any

from sinks.http_request import error
from sinks.inserts import literal
from sinks.query_guard import READONLY, refuse
from sinks.settings import HttpSettings

_UNKNOWN_SETTING = 115

_FREE = frozenset({
    "session_timezone", "date_time_output_format", "date_time_input_format", "format_csv_delimiter",
    "cast_string_to_dynamic_use_inference",
    "max_threads", "max_block_size", "max_rows_to_read", "max_bytes_to_read", "read_overflow_mode",
    "result_overflow_mode", "timeout_overflow_mode", "max_rows_to_group_by", "group_by_overflow_mode",
    "max_bytes_before_external_group_by", "max_bytes_before_external_sort",
    "extremes", "limit", "offset", "join_use_nulls", "group_by_use_nulls", "aggregate_functions_null_for_empty",
    "prefer_column_name_to_alias", "totals_mode", "transform_null_in", "union_default_mode",
    "enable_named_columns_in_function_tuple", "log_queries", "connect_timeout",
    "receive_timeout", "send_timeout", "http_receive_timeout", "http_send_timeout",
})  # fmt: skip
_FREE_PREFIX = "output_format_"
_NEVER = frozenset({"output_format_schema"})  # a path on the server, written
# Drivers that know they only read say so, a reader does anyhow; the comment is ours (``http_port.COMMENT``).
_IGNORED = frozenset({"readonly", "log_comment"})


def limits(settings: HttpSettings) -> dict[str, int]:
    """What one query of a reader may use at most."""
    return {
        "max_execution_time": settings.max_seconds,
        "max_result_rows": settings.max_rows,
        "max_memory_usage": settings.max_memory_bytes,
        # The answer is held three times for a moment: as the engine's, as ours, compressed.
        "max_result_bytes": settings.max_memory_bytes // 4,
    }


def reader_settings(
    connection: Any, asked: Mapping[str, str], in_query: Mapping[str, str | int | float], limits: Mapping[str, int]
) -> dict[str, str | int | float]:
    """The settings to apply before the query: the limits, and what the reader may choose.

    A limit in the URL above ours becomes ours (drivers send their own time-outs); in the query it is refused, because
    the engine would refuse any value but the applied one.  StoreRefused for a setting that is unknown or not a
    reader's.
    """
    found: dict[str, str | int | float] = dict(limits)
    for name, value in asked.items():
        if name in _IGNORED:
            continue
        if name in limits:
            number = _number(name, value)
            found[name] = number if 0 < number < limits[name] else limits[name]
        elif _is_free(name):
            found[name] = value
        else:
            raise _refused(connection, name)
    for name, chosen in in_query.items():
        if name in limits:
            number = _number(name, chosen)
            if not 0 < number <= limits[name]:
                raise refuse(f"{name} of a reader is more than 0 and at most {limits[name]}, not {chosen}", READONLY)
            found[name] = chosen
        elif _is_free(name):
            found[name] = chosen
        else:
            raise _refused(connection, name)
    return found


def _is_free(name: str) -> bool:
    return name not in _NEVER and (name in _FREE or name.startswith(_FREE_PREFIX))


def _number(name: str, value: str | int | float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if number != number:
        raise error(72, "CANNOT_PARSE_NUMBER", f"Setting {name}: {value!r} is not a number")
    return int(number) if number.is_integer() else number


def _refused(connection: Any, name: str) -> Exception:
    sql = f"SELECT count() FROM system.settings WHERE name = {literal(name)}"
    if connection.query(sql, "TSV").bytes().strip() == b"0":
        return error(_UNKNOWN_SETTING, "UNKNOWN_SETTING", f"Setting {name} is neither a builtin setting nor started "
                     "with the prefix 'SQL_' registered for user-defined settings")  # fmt: skip
    return refuse(f"Cannot modify '{name}' setting in readonly mode", READONLY)
