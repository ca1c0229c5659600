"""Requests of ClickHouse's HTTP interface as read from URL, headers and body."""

import base64
import gzip

import pytest

from sinks import StoreRefused
from sinks.http_request import MAX_BODY, read_request
from sinks.store_errors import error_code


def test_the_body_continues_the_query_of_the_url() -> None:
    request = read_request([("query", "INSERT INTO t FORMAT CSV")], {}, b"1,2\n")
    assert request.sql == "INSERT INTO t FORMAT CSV\n1,2\n"
    assert read_request([], {}, b"SELECT 1").sql == "SELECT 1"
    assert read_request([("query", "SELECT 1")], {}, b"").sql == "SELECT 1"


def test_parameters_settings_and_the_interface_are_kept_apart() -> None:
    fields = [("param_x", "a\\tb"), ("max_threads", "2"), ("wait_end_of_query", "1"), ("session_id", "s"),
              ("database", "d"), ("default_format", "JSON"), ("query_id", "q")]  # fmt: skip
    request = read_request(fields, {}, b"SELECT 1")
    assert request.parameters == {"x": "a\\tb"}
    assert request.settings == {"max_threads": "2"}
    assert (request.database, request.format, request.query_id) == ("d", "JSON", "q")


def test_the_plain_request_is_of_nobody_and_tab_separated() -> None:
    request = read_request([], {}, b"")
    assert (request.user, request.password, request.format, request.database) == ("", "", "TabSeparated", None)
    assert len(request.query_id) == 36


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ([("user", "admin"), ("password", "t:o")], {}),
        ([], {"x-clickhouse-user": "admin", "x-clickhouse-key": "t:o"}),
        ([], {"authorization": "Basic " + base64.b64encode(b"admin:t:o").decode()}),
    ],
)
def test_credentials_come_three_ways(fields: list[tuple[str, str]], headers: dict[str, str]) -> None:
    request = read_request(fields, headers, b"")
    assert (request.user, request.password) == ("admin", "t:o")


def test_a_form_carries_query_and_parameters() -> None:
    # As urllib3 encodes fields, RFC 7578.
    body = (
        b'--b1\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n'
        b'--b1\r\nContent-Disposition: form-data; name="param_x"\r\n\r\n\xc3\xa4\\tb\r\n--b1--\r\n'
    )
    request = read_request([("database", "d")], {"content-type": "multipart/form-data; boundary=b1"}, body)
    assert (request.sql, request.parameters, request.database) == ("SELECT {x:String}", {"x": "ä\\tb"}, "d")


def test_a_packed_body_is_unpacked_within_bounds() -> None:
    packed = {"content-encoding": "gzip"}
    assert read_request([], packed, gzip.compress(b"SELECT 1")).sql == "SELECT 1"
    bomb = gzip.compress(bytes(MAX_BODY + 1))
    assert len(bomb) < 100_000
    with pytest.raises(StoreRefused, match="unpacks to more than"):
        read_request([], packed, bomb)


@pytest.mark.parametrize(
    ("fields", "headers", "body", "code"),
    [
        ([("decompress", "1")], {}, b"SELECT 1", 271),
        ([("decompress", "1")], {}, bytes(16) + b"\x82\xff\xff\xff\xff\xff\xff\xff\xff", 271),
        ([("decompress", "1")], {}, bytes(16) + b"\x82\x0a\x00\x00\x00\x01\x00\x00\x00x", 40),
        ([], {}, b"INSERT INTO t FORMAT Native\n\xff\x00", 48),
        ([], {}, b"SELECT 1\0; DROP TABLE t", 62),
        ([], {"content-encoding": "rot13"}, b"", 48),
        ([], {"content-encoding": "gzip"}, b"no gzip", 354),
        ([], {"content-encoding": "gzip"}, gzip.compress(b"SELECT 1", mtime=0)[:-9], 354),
        ([], {"authorization": "Basic ?"}, b"", 516),
        ([], {"authorization": "Bearer x"}, b"", 516),
        ([], {"content-type": "multipart/form-data; boundary=b"},
         b'--b\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--b--\r\n', 48),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(
    fields: list[tuple[str, str]], headers: dict[str, str], body: bytes, code: int
) -> None:
    with pytest.raises(StoreRefused) as refused:
        read_request(fields, headers, body)
    assert refused.value.code == code == error_code(str(refused.value))
