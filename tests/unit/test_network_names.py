"""Reading networks.csv: whole or not at all."""

from pathlib import Path

import pytest

from sinks.names import MAX_FILE_BYTES, Network, NetworkFileError, read_networks


def read(tmp_path: Path, text: str) -> tuple[Network, ...]:
    path = tmp_path / "networks.csv"
    path.write_bytes(text.encode())
    return read_networks(path).networks


def test_prefixes_and_as_in_any_order_of_columns(tmp_path: Path) -> None:
    text = '\ufeffname,country,ASN,Prefix\r\n# a comment\n\n"One, Inc",jp,,192.0.2.0/24\nTwo,,AS64500,\n'
    text += "Six,NL,,2001:DB8::/32\n"
    assert read(tmp_path, text) == (
        Network("192.0.2.0/24", 0, "One, Inc", "JP"), Network("", 64500, "Two", ""),
        Network("2001:db8::/32", 0, "Six", "NL"),
    )  # fmt: skip


def test_the_file_is_known_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text("asn,name\n1,a\n")
    first = read_networks(path).checksum
    path.write_text("asn,name\n1,b\n")
    assert len(first) == 64 and first != read_networks(path).checksum


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "has no header"),
        ("prefix,name,colour\n", "column 'colour' is unknown"),
        ("prefix,name,name\n", "twice"),
        ("prefix\n", "needs name"),
        ("name\n", "prefix or asn"),
        ("prefix,name\n192.0.2.0/24\n", "line 2: has 1 fields, the header 2"),
        ("prefix,asn,name\n192.0.2.0/24,1,a\n", "not both"),
        ("prefix,asn,name\n,,a\n", "not neither"),
        ("prefix,name\n192.0.2.1/24,a\n", "host bits"),
        ("prefix,name\n192.0.2.0/33,a\n", "write a prefix like"),
        ("prefix,name\nhere,a\n", "write a prefix like"),
        ("prefix,name\n0.0.0.0/0,a\n", "would name every address"),
        ("prefix,name\n::/0,a\n", "would name every address"),
        ("prefix,name\n::ffff:192.0.2.0/120,a\n", "write them as IPv4"),
        ("prefix,name\n::/8,a\n", "write them as IPv4"),
        ("prefix,name\n192.0.2.0/24,\n", "wants 1 to 200"),
        ("prefix,name\n192.0.2.0/24," + "x" * 201 + "\n", "wants 1 to 200"),
        ("prefix,name\n192.0.2.0/24,a\x07\n", "printable"),
        ("prefix,name,country\n192.0.2.0/24,a,JPN\n", "code of two letters"),
        ("asn,name\n0,a\n", "no number from 1"),
        ("asn,name\n4294967296,a\n", "no number from 1"),
        ("asn,name\nASX,a\n", "no number from 1"),
        ("asn,name\n1,a\n\nAS1,b\n", "line 4: AS 1 has its name on line 2 already"),
        ("prefix,name\n2001:db8::/32,a\n2001:DB8:0::/32,b\n", "line 3: 2001:db8::/32 has its name on line 2"),
        ('prefix,name\n192.0.2.0/24,"a\n', "is not CSV"),
    ],
)
def test_one_wrong_line_refuses_the_file(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(NetworkFileError, match=wrong):
        read(tmp_path, text)


def test_what_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_bytes(b"asn,name\n1,\xff\n")
    with pytest.raises(NetworkFileError, match="is not UTF-8 at octet 11"):
        read_networks(path)
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(NetworkFileError, match="at most"):
        read_networks(path)
