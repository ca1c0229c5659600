"""Answers of ClickHouse's HTTP interface: statuses, texts and the data source's first block."""

import pytest

from sinks import http_answer

# A block of the four columns, one row, at revision 54460, written by hand from the Native format's description:
# BlockInfo (field 1: overflows 0, field 2: bucket -1, end), columns, rows, then name, type, serialisation, data.
HELLO_BLOCK = bytes.fromhex(
    "01 00 02 ffffffff 00 04 01"
    "0d 646973706c61794e616d652829 06 537472696e67 00 02 766d"
    "09 76657273696f6e2829 06 537472696e67 00 04 32362e39"
    "0a 7265766973696f6e2829 06 55496e743332 00 00000000"
    "0a 74696d657a6f6e652829 06 537472696e67 00 03 555443".replace(" ", "")
)


def test_the_hello_block_answers_revision_0() -> None:
    assert http_answer.hello("vm", "26.9", "UTC") == HELLO_BLOCK


@pytest.mark.parametrize(
    ("sql", "is_it"),
    [
        ("SELECT displayName(), version(), revision(), timezone()", True),
        (" select displayName(),  version(), revision(), timezone() ;\n", True),
        ("SELECT displayName(), version(), revision(), timezone(), 1", False),
        ("SELECT version()", False),
    ],
)
def test_the_hello_is_known_by_its_words(sql: str, is_it: bool) -> None:
    assert http_answer.is_hello(sql) is is_it


@pytest.mark.parametrize(
    ("code", "status"),
    [(62, 400), (60, 404), (81, 404), (115, 404), (194, 401), (516, 403), (497, 403), (241, 503), (1001, 500)],
)  # fmt: skip
def test_statuses_are_those_of_the_server(code: int, status: int) -> None:
    assert http_answer.status(code) == status


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (
            "Code: 73. DB::Exception: Code: 73. DB::Exception: Unknown format Nope. (UNKNOWN_FORMAT)"
            " (version 26.9.2.1). (UNKNOWN_FORMAT)",
            "Code: 73. DB::Exception: Unknown format Nope. (UNKNOWN_FORMAT)\n",
        ),
        (
            "Code: 62. DB::Exception: Syntax error: failed at position 9: In scope SELECT"
            " parseQueryToJSON('SELECT 1 +'). (SYNTAX_ERROR)",
            "Code: 62. DB::Exception: Syntax error: failed at position 9. (SYNTAX_ERROR)\n",
        ),
        ("something else", "Code: 1001. DB::Exception: something else (STD_EXCEPTION)\n"),
    ],
)
def test_an_error_names_itself_once(raised: str, shown: str) -> None:
    assert http_answer.message(raised) == shown


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("TabSeparatedWithNames", "text/tab-separated-values; charset=UTF-8"),
        ("CSV", "text/csv; charset=UTF-8; header=absent"),
        ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
        ("JSON", "application/json; charset=UTF-8"),
        ("JSONCompact", "application/json; charset=UTF-8"),
        ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
        ("Native", "application/octet-stream"),
        ("PrettyCompact", "text/plain; charset=UTF-8"),
    ],
)
def test_media_types(form: str, kind: str) -> None:
    assert http_answer.content_type(form) == kind
