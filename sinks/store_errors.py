"""ClickHouse's errors as ours: which the same request may outlive, and which it never will."""

import re

from sinks import StoreRefused, StoreUnavailable

INCORRECT_DATA = 117

TRANSIENT_CODES = frozenset({
    75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR: the disk is full
    159,  # TIMEOUT_EXCEEDED
    160,  # TOO_SLOW
    202,  # TOO_MANY_SIMULTANEOUS_QUERIES
    209,  # SOCKET_TIMEOUT
    210,  # NETWORK_ERROR
    236,  # ABORTED
    241,  # MEMORY_LIMIT_EXCEEDED
    242,  # TABLE_IS_READ_ONLY
    243,  # NOT_ENOUGH_SPACE
    252,  # TOO_MANY_PARTS
    319,  # UNKNOWN_STATUS_OF_INSERT
    394,  # QUERY_WAS_CANCELLED
    439,  # CANNOT_SCHEDULE_TASK
    999,  # KEEPER_EXCEPTION
})  # fmt: skip
"""ClickHouse's error codes after which the same request may succeed."""
CONTENT_CODES = frozenset({
    6,  # CANNOT_PARSE_TEXT
    26,  # CANNOT_PARSE_QUOTED_STRING
    27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
    33,  # CANNOT_READ_ALL_DATA: the body ends inside a value
    38,  # CANNOT_PARSE_DATE
    41,  # CANNOT_PARSE_DATETIME
    69,  # ARGUMENT_OUT_OF_BOUND
    70,  # CANNOT_CONVERT_TYPE
    72,  # CANNOT_PARSE_NUMBER
    INCORRECT_DATA,
    131,  # TOO_LARGE_STRING_SIZE
    190,  # SIZES_OF_ARRAYS_DONT_MATCH
    321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    407,  # DECIMAL_OVERFLOW
    441,  # CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING: an address
    469,  # VIOLATED_CONSTRAINT
    675,  # CANNOT_PARSE_IPV4
    676,  # CANNOT_PARSE_IPV6
})  # fmt: skip
"""Codes that speak of the rows' values: no repeat mends them, and the next message may be sound.

All others that are not transient are the store's own (no table 60, no column 16, wrong column type 53, no rights 497,
read-only 164, quota 201, unknown setting 115, a code never met): the message waits until somebody mends the store.
"""
_CODE = re.compile(r"Code: (\d+)\.")
# The server gives this the same code as too many parts (252), but it is for ever: the rows span too many days.
_FOREVER = "Too many partitions for single INSERT block"


class StoreDenied(StoreUnavailable):
    """The store answers and refuses this account or these settings: wrong password, missing grant or database."""


def error_code(message: str) -> int:
    """ClickHouse's code in an error's text, 0 without one."""
    found = _CODE.search(message)
    return int(found[1]) if found else 0


def store_error(error: Exception) -> StoreUnavailable | StoreRefused:
    """The engine's error as one of ours; a message without a code is StoreRefused with code 0."""
    return of_code(error_code(str(error)), str(error))


def of_code(code: int, message: str) -> StoreUnavailable | StoreRefused:
    """The error of one of ClickHouse's codes."""
    if code in TRANSIENT_CODES and _FOREVER not in message:
        return StoreUnavailable(message)
    return StoreRefused(code, message)


def is_about_content(error: StoreRefused) -> bool:
    """Whether this message is at fault and not the store: only such a one is buried."""
    return error.code in CONTENT_CODES or _FOREVER in str(error)
