"""Messages with known content, from the RFCs."""

from ipaddress import ip_address
from pathlib import Path

from collector.decoder import Decoder
from collector.settings import DecoderSettings
from tests.wire import add, counts, rows

GOLDEN = Path(__file__).parents[1] / "golden"


def mapped(address: str) -> bytes:
    return bytes(10) + b"\xff\xff" + ip_address(address).packed


def test_the_examples_of_rfc_7011() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(one, bytes.fromhex((GOLDEN / "ipfix-rfc7011-appendix-a.hex").read_text()))
    assert rows(one, "src_addr", "dst_addr", "next_hop", "packets", "octets") == [
        (mapped("192.0.2.12"), mapped("192.0.2.254"), mapped("192.0.2.1"), 5009, 5344385),
        (mapped("192.0.2.27"), mapped("192.0.2.23"), mapped("192.0.2.2"), 748, 388934),
        (mapped("192.0.2.56"), mapped("192.0.2.65"), mapped("192.0.2.3"), 5, 6534),
    ]
    counted = counts(one)
    assert (counted["templates_accepted"], counted["records_options"], counted["sets_decoded"]) == (2, 2, 4)
