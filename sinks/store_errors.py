"""ClickHouse's errors as ours: which the same request may outlive, and which it never will."""

import re

from sinks import StoreRefused, StoreUnavailable

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
_CODE = re.compile(r"Code: (\d+)\.")
# The server gives this the same code as too many parts (252), but it is for ever: the rows span too many days.
_FOREVER = "Too many partitions for single INSERT block"


def error_code(message: str) -> int:
    """ClickHouse's code in an error's text, 0 without one."""
    found = _CODE.search(message)
    return int(found[1]) if found else 0


def store_error(error: Exception) -> StoreUnavailable | StoreRefused:
    """The engine's error as one of ours; a message without a code is StoreRefused with code 0."""
    message = str(error)
    code = error_code(message)
    if code in TRANSIENT_CODES and _FOREVER not in message:
        return StoreUnavailable(message)
    return StoreRefused(code, message)
