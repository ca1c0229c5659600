"""What ClickHouse's HTTP interface answers: statuses, content types, the plug-in's first Native block; no I/O."""

import re
import struct

from sinks import StoreRefused

# As the server maps its error codes; all others are 500.
_STATUS = {
    **dict.fromkeys((194,), 401),
    **dict.fromkeys((192, 193, 497, 516), 403),
    # BAD_ARGUMENTS, syntax, types and values that do not fit, parameters
    **dict.fromkeys((6, 26, 27, 36, 38, 40, 41, 42, 43, 50, 53, 62, 69, 70, 72, 89, 117, 130, 164, 271, 306, 321, 354,
                     427, 452, 456, 457, 467, 666), 400),
    # UNKNOWN_TABLE, _FUNCTION, _IDENTIFIER, _TYPE, _STORAGE, _FORMAT, _DATABASE, _SETTING …
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 79, 81, 115, 116, 511), 404),
    **dict.fromkeys((159,), 408),
    **dict.fromkeys((307, 1000), 413),
    **dict.fromkeys((48,), 501),
    **dict.fromkeys((202, 209, 241, 439), 503),
}  # fmt: skip
_JSON_LINES = ("JSONEachRow", "JSONCompactEachRow", "JSONStringsEachRow", "JSONLines", "NDJSON")
_BINARY = ("Native", "RowBinary", "Parquet", "Arrow", "ORC", "Avro", "MsgPack", "Protobuf", "CapnProto", "BSON", "Npy")

_NAMED = re.compile(r"Code: \d+\. DB::Exception: ")
_JUDGING = ": In scope SELECT parseQueryToJSON("
_VERSION = re.compile(r" \(version [\d.]+\)\. \(\w+\)$")

HELLO = "SELECT displayName(), version(), revision(), timezone()"
"""What clickhouse-go (Grafana's data source) asks first; its answer decides how it decodes all others."""
BLOCK_INFO_REVISION = 54_454
"""From here on each column of a Native block has a byte for its serialisation; the client names its revision."""


def error(code: int, name: str, message: str) -> StoreRefused:
    """An error worded as the server does."""
    return StoreRefused(code, f"Code: {code}. DB::Exception: {message}. ({name})")


def status(code: int) -> int:
    """The HTTP status of an error code."""
    return _STATUS.get(code, 500)


def message(text: str) -> str:
    """The body of an error: one prefix, no words of ours around the user's query, a line end."""
    found = list(_NAMED.finditer(text))
    if not found:
        return f"Code: 1001. DB::Exception: {text.strip()} (STD_EXCEPTION)\n"
    plain = found[0][0] + text[found[-1].end() :]
    name = re.search(r"\(([A-Z_0-9]+)\)\s*$", plain)
    while _VERSION.search(plain):  # an error that passed through layers names itself more than once
        plain = _VERSION.sub("", plain)
    if _JUDGING in plain:
        plain = plain.partition(_JUDGING)[0] + (f". ({name[1]})" if name else "")
    return plain.strip() + "\n"


def content_type(form: str) -> str:
    """The media type of an output format."""
    if form.startswith(_JSON_LINES):
        return "application/x-ndjson; charset=UTF-8"
    if form.startswith("JSON"):
        return "application/json; charset=UTF-8"
    if form.startswith("CSV"):
        return f"text/csv; charset=UTF-8; header={'present' if 'WithNames' in form else 'absent'}"
    if form.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    if form.startswith(_BINARY):
        return "application/octet-stream"
    return {"XML": "application/xml; charset=UTF-8", "Markdown": "text/markdown; charset=UTF-8"}.get(
        form, "text/plain; charset=UTF-8"
    )


def is_hello(sql: str) -> bool:
    """Whether this is clickhouse-go's first question."""
    return " ".join(sql.split()).rstrip("; ").lower() == HELLO.lower()


def hello(display_name: str, version: str, timezone: str) -> bytes:
    """A Native block of the first answer as a client of revision 54,454 or later decodes it.

    ``revision()`` is answered 0: from then on the client reads plain blocks of revision 0, which is what the engine
    in process writes.
    """
    block = b"\x01\x00\x02" + struct.pack("<i", -1) + b"\x00"  # BlockInfo: no overflow, no bucket
    block += _number(4) + _number(1)
    for name, value in (("displayName()", display_name), ("version()", version)):
        block += _text(name) + _text("String") + b"\x00" + _text(value)
    block += _text("revision()") + _text("UInt32") + b"\x00" + struct.pack("<I", 0)
    return block + _text("timezone()") + _text("String") + b"\x00" + _text(timezone)


def _number(value: int) -> bytes:
    """Variable-length unsigned integer, seven bits a byte."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _text(value: str) -> bytes:
    data = value.encode()
    return _number(len(data)) + data
