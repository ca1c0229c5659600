from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.leases import HELD
from enricher.sources.tables import LeaseFileError, parse_leases, parse_time, read_leases

HEADER = "prefix,from,to,subscriber,group,service,segment,access\n"
GOOD = "192.0.2.0/24,2024-06-03T00:00:00Z,,A,north,fixed,personal,pppoe\n"
PATH = Path("leases.csv")


def refused(data: str | bytes) -> tuple[int | None, str]:
    with pytest.raises(LeaseFileError) as caught:
        parse_leases(data.encode() if isinstance(data, str) else data, PATH)
    return caught.value.line, caught.value.reason


def test_a_line_is_read() -> None:
    rows = parse_leases((HEADER + "2001:db8::/56,1717372800,1717372801,A,north,mobile,enterprise,other").encode(), PATH)
    assert (rows.high[0], rows.low[0], rows.bits[0]) == (0x2001_0DB8 << 32, 0, 56)
    assert (rows.since[0], rows.until[0]) == (1717372800_000, 1717372801_000)
    assert (rows.subscribers[rows.subscriber[0]], rows.groups[rows.group[0]]) == ("A", "north")
    assert (rows.service[0], rows.segment[0], rows.access[0]) == (1, 1, 3)


def test_columns_come_in_any_order_and_values_are_trimmed() -> None:
    rows = parse_leases(
        b"access, service,segment,group,subscriber,to,from,prefix\npppoe,fixed,personal,, A ,,0, 10.0.0.1", PATH
    )
    assert (rows.low[0], rows.bits[0], rows.since[0], rows.until[0]) == (0xFFFF_0A00_0001, 128, 0, HELD)
    assert list(rows.subscribers) == ["A"]


def test_bom_crlf_blank_and_comment_lines_and_quotes() -> None:
    text = f'# leases\n\n{HEADER}# "one, two\n  \n"10.0.0.1/32",0,,"A ""x"", y",,fixed,personal,pppoe\n\t# end\n{GOOD}'
    rows = parse_leases(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), PATH)
    assert list(rows.subscribers) == ['A "x", y', "A"]
    assert rows.bits.tolist() == [128, 120]


def test_a_file_of_a_header_alone_has_no_leases() -> None:
    assert len(parse_leases(HEADER.encode(), PATH)) == 0


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("192.0.2.1/24,0,,A,,fixed,personal,pppoe", "did you mean 192.0.2.0/24"),
        ("2001:db8::1/64,0,,A,,fixed,personal,pppoe", "did you mean 2001:db8::/64"),
        ("2001:db8:0:0:1::/64,0,,A,,fixed,personal,pppoe", "did you mean 2001:db8::/64"),
        ("192.0.2.0/33,0,,A,,fixed,personal,pppoe", "is not a prefix"),
        ("host,0,,A,,fixed,personal,pppoe", "is not a prefix"),
        (",0,,A,,fixed,personal,pppoe", "is not a prefix"),
        ("192.0.2.0/24,,,A,,fixed,personal,pppoe", "from is empty"),
        ("192.0.2.0/24,2024-06-03T00:00:00,,A,,fixed,personal,pppoe", "has no zone"),
        ("192.0.2.0/24,2024-06-03,,A,,fixed,personal,pppoe", "has no zone"),
        ("192.0.2.0/24,yesterday,,A,,fixed,personal,pppoe", "is not a time"),
        ("192.0.2.0/24,1717372800000,,A,,fixed,personal,pppoe", "not milliseconds"),
        ("192.0.2.0/24,-5,,A,,fixed,personal,pppoe", "is not a time"),
        ("192.0.2.0/24,1969-12-31T00:00:00Z,,A,,fixed,personal,pppoe", "before 1970"),
        ("192.0.2.0/24,0,9999999999999999999999,A,,fixed,personal,pppoe", "is not a time"),
        ("192.0.2.0/24,10,10,A,,fixed,personal,pppoe", "from 10 is not before to 10"),
        ("192.0.2.0/24,11,10,A,,fixed,personal,pppoe", "from 11 is not before to 10"),
        ("192.0.2.0/24,0,,,,fixed,personal,pppoe", "the subscriber is empty"),
        ("192.0.2.0/24,0,,A\x00B,,fixed,personal,pppoe", "subscriber holds a control character"),
        ("192.0.2.0/24,0,,A,g\x1b,fixed,personal,pppoe", "group holds a control character"),
        ("192.0.2.0/24,0,,A,,Fixed,personal,pppoe", "service 'Fixed' is none of fixed, mobile"),
        ("192.0.2.0/24,0,,A,,fixed,,pppoe", "segment '' is none of personal, enterprise, unknown"),
        ("192.0.2.0/24,0,,A,,fixed,personal,dhcp", "access 'dhcp' is none of pppoe, ipoe, mobile, other"),
        ("192.0.2.0/24,0,,A,,fixed,personal", "7 values where the header names 8"),
        ("192.0.2.0/24,0,,A,,fixed,personal,pppoe,", "9 values where the header names 8"),
        ('192.0.2.0/24,0,,"A,,fixed,personal,pppoe', "quote"),
        ("192.0.2.0/24,0,,A,,fixed,personal,pppoe\r192.0.2.0/24,0,,B,,fixed,personal,pppoe", "carriage return"),
        ("192.0.2.0/24,0,," + "A" * 5_000 + ",,fixed,personal,pppoe", "longer than 4,096 bytes"),
    ],
)
@pytest.mark.parametrize("between", ["", "# a comment\n\n"])
def test_a_bad_line_refuses_the_file_and_is_named(bad: str, says: str, between: str) -> None:
    # A later bad line of another kind does not hide the first.
    line, reason = refused(HEADER + GOOD * 3 + between + bad + "\n" + GOOD + "x,x,x,x,x,x,x,x\n")
    assert says in reason
    assert line == 5 + between.count("\n")


def test_the_error_names_file_line_and_reason() -> None:
    with pytest.raises(LeaseFileError, match=r"^leases\.csv:3: segment 'x' is none of"):
        parse_leases((HEADER + GOOD + GOOD.replace("personal", "x")).encode(), PATH)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("prefix,from,to,subscribr,group,service,segment,access", "did you mean subscriber?"),
        ("prefix,from,to,subscriber,group,service,segment,access,vlan", "unknown column 'vlan'"),
        ("prefix,from,to,subscriber,group,service,segment", "the column access is missing"),
        ("prefix,from,to,subscriber,group,service,segment,access,to", "named twice"),
        ("192.0.2.0/24,0,,A,,fixed,personal,pppoe", "unknown column '192.0.2.0/24'"),
    ],
)
def test_an_unknown_missing_or_double_column_is_refused(header: str, says: str) -> None:
    line, reason = refused(header + "\n" + GOOD)
    assert says in reason
    assert line == 1


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"", None, "has no header"),
        (b"\n# nothing\n", None, "has no header"),
        (HEADER.encode() + b"10.0.0.1,0,,A\xff,,fixed,personal,pppoe\n", 2, "is not UTF-8"),
        (HEADER.encode("utf-16"), 1, "save it as UTF-8"),
    ],
)
def test_what_is_no_text_table_is_refused(data: bytes, line: int | None, says: str) -> None:
    found, reason = refused(data)
    assert found == line
    assert says in reason


def test_too_many_groups_are_refused() -> None:
    lines = [f"10.0.0.1,{number},,A,g{number},fixed,personal,pppoe\n" for number in range(8_193)]
    assert refused(HEADER + "".join(lines)) == (
        8_194,
        "more than 8,192 groups: a group is a few words for many subscribers",
    )


def test_a_large_or_absent_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "leases.csv"
    with pytest.raises(LeaseFileError, match="cannot be read: No such file"):
        read_leases(path, 100)
    path.write_text(HEADER + GOOD)
    size = path.stat().st_size
    assert len(read_leases(path, size)) == 1
    with pytest.raises(LeaseFileError, match="larger than"):
        read_leases(path, size - 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1717372800", 1717372800_000),
        ("2024-06-03T00:00:00Z", 1717372800_000),
        ("2024-06-03 09:00:00+09:00", 1717372800_000),
        ("2024-06-03T00:00:00.123999Z", 1717372800_123),
        ("20240603T000000+0000", 1717372800_000),
        ("9999-12-31T23:59:59Z", 253402300799_000),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time(text) == expected
    rows = parse_leases(f"{HEADER}10.0.0.1,{text},,A,,fixed,personal,pppoe\n".encode(), PATH)
    assert rows.since.tolist() == [expected]


@settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()), st.booleans())
def test_the_fast_way_reads_times_as_the_careful_one(moment: datetime, space: bool) -> None:
    text = moment.isoformat(sep=" " if space else "T")
    rows = parse_leases(f"{HEADER}10.0.0.1,{text},,A,,fixed,personal,pppoe\n".encode(), PATH)
    assert rows.since.tolist() == [parse_time(text)]
