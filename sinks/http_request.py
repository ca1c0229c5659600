"""A request of ClickHouse's HTTP interface, read; no I/O."""

import binascii
import io
import uuid
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP

from sinks.http_answer import error as error
from sinks.http_packing import FRAMED, choose, unpack

MAX_BODY = 64 << 20
"""Bytes of a body, also unpacked: a query has at most 256 KB, the rest is what an admin inserts."""
_DEFAULT_FORMAT = "TabSeparated"

# Parameters of the interface itself, not settings of a query; those that want more than one request to remember
# something (sessions, roles, quotas) have nothing to act on here and are taken without effect, as drivers send them.
_TRANSPORT = frozenset({
    "query", "database", "default_format", "user", "password", "query_id", "client_protocol_version",
    "enable_http_compression", "http_zlib_compression_level", "compress", "decompress",
    "session_id", "session_check", "session_timeout", "quota_key", "role", "stacktrace",
    "buffer_size", "wait_end_of_query", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
    "add_http_cors_header", "replace_running_query", "cancel_http_readonly_queries_on_client_close",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One query as asked for."""

    sql: str
    format: str  # used where the query has no FORMAT clause
    database: str | None
    parameters: dict[str, str]  # values of {name:Type}, escaped as they came
    settings: dict[str, str]
    user: str
    password: str
    query_id: str
    protocol_version: int  # of the Native format the client speaks; 0: the plain one
    packing: str  # how the answer is packed (``http_packing``); empty: not at all
    whole: bool  # nothing may be sent before the query has ended: then an error has a status


def read_request(fields: Sequence[tuple[str, str]], headers: Mapping[str, str], body: bytes) -> Request:
    """The query of URL parameters, headers (names in lower case) and body.

    StoreRefused: the request is not one we can read.
    """
    values = dict(fields)
    encoding = headers.get("content-encoding", "").lower()
    for packing in (encoding, FRAMED if values.get("decompress") == "1" else ""):
        body = b"".join(unpack(io.BytesIO(body).read, packing, MAX_BODY))
    if headers.get("content-type", "").lower().startswith("multipart/form-data"):
        values |= _form(body, headers["content-type"])
        body = b""
    try:
        text = body.decode()
    except UnicodeDecodeError as problem:
        raise error(48, "NOT_IMPLEMENTED", "the body is not UTF-8: write INSERT INTO table FORMAT name before the"
                    " rows") from problem  # fmt: skip
    # As the server does: the body continues the query of the URL.
    sql = "\n".join(part for part in (values.get("query", ""), text) if part)
    if "\0" in sql:
        raise error(62, "SYNTAX_ERROR", "Syntax error: the query has a NUL character")
    user, password = credentials(values, headers)
    version = values.get("client_protocol_version", "")
    return Request(
        sql=sql,
        format=values.get("default_format") or headers.get("x-clickhouse-format") or _DEFAULT_FORMAT,
        database=values.get("database") or headers.get("x-clickhouse-database") or None,
        parameters={name[6:]: value for name, value in values.items() if name.startswith("param_")},
        settings={n: v for n, v in values.items() if n not in _TRANSPORT and not n.startswith("param_")},
        user=user,
        password=password,
        query_id=values.get("query_id") or str(uuid.uuid4()),
        protocol_version=int(version) if version.isdecimal() else 0,
        packing=_packing(values, headers),
        whole=values.get("wait_end_of_query") == "1",
    )


def credentials(values: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """User and password of URL parameters or headers, empty where neither has them; StoreRefused."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            user, _, password = b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as problem:
            raise error(
                516, "AUTHENTICATION_FAILED", "the Authorization header is not Basic user:password"
            ) from problem
        return user, password
    if kind:
        raise error(516, "AUTHENTICATION_FAILED", f"authentication by {kind} is not known here: use Basic")
    return (
        values.get("user") or headers.get("x-clickhouse-user", ""),
        values.get("password") or headers.get("x-clickhouse-key", ""),
    )


def _form(body: bytes, kind: str) -> dict[str, str]:
    """Fields of multipart/form-data."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    found: dict[str, str] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None:
            raise error(48, "NOT_IMPLEMENTED", "external tables (files in a form) are not taken: write a subquery")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            found[name] = payload.decode(errors="replace")
    return found


def _packing(values: Mapping[str, str], headers: Mapping[str, str]) -> str:
    if values.get("compress") == "1":
        return FRAMED
    return choose(headers.get("accept-encoding", "")) if values.get("enable_http_compression") == "1" else ""
