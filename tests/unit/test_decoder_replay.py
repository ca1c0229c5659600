"""``replay --decode``: a capture as rows."""

import csv
import io
import json
from pathlib import Path

import dpkt
import pyarrow.parquet as pq
import pytest

from collector.capture import Capture, CaptureError
from flowtide.replay_decode import NAMES, OutputError, address_text, decode_file
from sinks.schema import RAW
from tests.wire import NOW, flowset, ipfix, template, v9

FLOW = flowset(2, template(256, (8, 4), (12, 4), (1, 4), (1, 4, 29_305), (153, 8)))
DATA = flowset(
    256, bytes([192, 0, 2, 7, 192, 0, 2, 8, 0, 0, 1, 0, 0, 0, 2, 0]) + (NOW * 1000 - 1500).to_bytes(8, "big")
)


def capture(path: Path, *payloads: bytes, source: bytes = bytes([192, 0, 2, 1])) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for payload in payloads:
            udp = dpkt.udp.UDP(sport=1, dport=9999, data=payload, ulen=8 + len(payload))
            ip = dpkt.ip.IP(src=source, dst=bytes([192, 0, 2, 9]), p=17, data=udp)
            writer.writepkt(bytes(dpkt.ethernet.Ethernet(data=ip)), ts=NOW + 1)
    return path


def decoded(tmp_path: Path, form: str, *payloads: bytes, reverse: bool = False) -> tuple[Path, str]:
    out, report = tmp_path / "out", io.StringIO()
    decode_file(capture(tmp_path / "in.pcap", *payloads), form, out, reverse, report)  # type: ignore[arg-type]
    return out, report.getvalue()


def test_csv(tmp_path: Path) -> None:
    out, _ = decoded(tmp_path, "csv", ipfix(FLOW, DATA))
    header, row = csv.reader(out.read_text().splitlines())
    assert tuple(header) == NAMES == tuple(column.name for column in RAW)
    found = dict(zip(header, row, strict=True))
    assert (found["exporter"], found["src_addr"], found["dst_addr"], found["octets"], found["next_hop"]) == (
        "192.0.2.1", "192.0.2.7", "192.0.2.8", "256", "",
    )  # fmt: skip
    assert found["ts"] == "2023-11-14 22:13:18.500"  # 1,700,000,000 s less 1.5


def test_jsonl_and_table(tmp_path: Path) -> None:
    out, _ = decoded(tmp_path, "jsonl", ipfix(FLOW, DATA))
    (line,) = out.read_text().splitlines()
    assert (json.loads(line)["octets"], json.loads(line)["flags"]) == (256, 0)
    out, _ = decoded(tmp_path, "table", ipfix(FLOW, DATA))
    header, row = out.read_text().splitlines()
    assert tuple(header.split()) == NAMES
    assert "192.0.2.7" in row


def test_parquet(tmp_path: Path) -> None:
    out, _ = decoded(tmp_path, "parquet", ipfix(FLOW, DATA))
    table = pq.read_table(out)
    assert table.column_names == list(NAMES)
    assert (str(table.schema.field("ts").type), str(table.schema.field("octets").type)) == (
        "timestamp[ms, tz=UTC]", "int64",
    )  # fmt: skip
    assert table["src_addr"].to_pylist() == ["192.0.2.7"]


def test_reverse_halves_only_when_asked_for(tmp_path: Path) -> None:
    for reverse, expected in ((False, ["256"]), (True, ["256", "512"])):
        out, _ = decoded(tmp_path, "csv", ipfix(FLOW, DATA), reverse=reverse)
        assert [row["octets"] for row in csv.DictReader(out.read_text().splitlines())] == expected


def test_data_before_its_template_and_what_never_got_one(tmp_path: Path) -> None:
    out, report = decoded(tmp_path, "csv", ipfix(DATA), ipfix(FLOW), v9(DATA), b"\xff\xff", b"\0\x05" + bytes(22))
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 1
    assert report.splitlines() == [
        "1 rows from 4 datagrams of 5 packets",
        "  datagrams_dropped_no_record 1",
        "  datagrams_not_flow_messages 1",
        "  sets_dropped_no_template 1",
    ]


def test_old_flows_keep_their_times(tmp_path: Path) -> None:
    old = DATA[:-8] + (86_400_000).to_bytes(8, "big")
    out, _ = decoded(tmp_path, "csv", ipfix(FLOW, old))
    assert [row["ts"] for row in csv.DictReader(out.read_text().splitlines())] == ["1970-01-02 00:00:00.000"]


def test_without_flows_there_is_a_header(tmp_path: Path) -> None:
    out, report = decoded(tmp_path, "csv", b"hello")
    assert out.read_text().splitlines() == [",".join(NAMES)]
    assert report.startswith("0 rows from 0 datagrams of 1 packets")


def test_bad_files_are_refused_with_what_where_and_what_to_do(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CaptureError, match=r"missing\.pcap: .*name a pcap"):
        decode_file(tmp_path / "missing.pcap", "csv", out)
    (tmp_path / "text").write_text("hello, this is no capture")
    with pytest.raises(CaptureError, match=r"text: neither pcap nor pcapng"):
        decode_file(tmp_path / "text", "csv", out)
    assert not out.exists()
    good = capture(tmp_path / "in.pcap", ipfix(FLOW, DATA))
    with pytest.raises(OutputError, match="name a file that can be written"):
        decode_file(good, "csv", tmp_path)


def test_a_capture_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    good = capture(tmp_path / "in.pcap", ipfix(FLOW, DATA), ipfix(DATA))
    whole = good.read_bytes()
    out = tmp_path / "out"
    good.write_bytes(whole + bytes(7))  # half a packet header
    with pytest.raises(CaptureError, match="breaks off after packet 2"):
        decode_file(good, "csv", out, report=io.StringIO())
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 2
    report = io.StringIO()
    good.write_bytes(whole[:-10])  # part of the last packet
    decode_file(good, "csv", out, report=report)
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 1
    assert "packets_cut 1" in report.getvalue()


def test_the_capture_keeps_the_exporters_identity(tmp_path: Path) -> None:
    (found,) = Capture(capture(tmp_path / "in.pcap", b"x", source=bytes([198, 51, 100, 7])))
    assert (found.exporter, found.source_port, found.destination_port, found.payload, found.time_ms, found.is_cut) == (
        "198.51.100.7", 1, 9999, b"x", (NOW + 1) * 1000, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (bytes(16), ""),
        (bytes(10) + b"\xff\xff\xc0\x00\x02\x07", "192.0.2.7"),
        (bytes.fromhex("20010db8000000000000000000000007"), "2001:db8::7"),
    ],
)
def test_address_text(octets: bytes, expected: str) -> None:
    assert address_text(octets) == expected
