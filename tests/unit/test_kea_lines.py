"""Lines as Kea's own tests and documents show them."""

import pytest

from enricher.sources.kea_lines import Family, Identity, KeaColumns, KeaHeaderError, KeaLineError, relay_id

HEADER4 = (
    b"address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id"
)
HEADER6 = (
    b"address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,"
    b"hwaddr,state,user_context,hwtype,hwaddr_source,pool_id"
)
MAPPED = 0xFFFF << 32


def line4(
    address: str = "192.0.2.3", valid: object = 200, expire: object = 500, state: object = 0, context: str = "",
    hostname: str = "host.example.com",
) -> bytes:  # fmt: skip
    escaped = context.replace(",", "&#x2c")
    row = f"{address},06:07:08:09:1a:bc,17:34:e2,{valid},{expire},8,1,1,{hostname},{state},{escaped},0"
    return row.encode()


def line6(address: str, kind: int, bits: int, context: str = "") -> bytes:
    duid = "00:01:02:03:04:05:06:0a:0b"
    row = f"{address},{duid},200,500,8,100,{kind},7,{bits},1,1,h&#x2cx,,0,{context.replace(',', '&#x2c')},,,0"
    return row.encode()


def columns(identity: Identity, family: Family = 4) -> KeaColumns:
    return KeaColumns.of(HEADER4 if family == 4 else HEADER6, family, identity)


def test_a_line_says_who_holds_an_address_from_its_renewal_until_it_expires() -> None:
    read = columns("client_id").read(line4())
    assert (read.address, read.bits, read.renewed, read.expire) == (MAPPED | 0xC000_0203, 128, 300, 500)
    assert (read.holds, read.declined, read.infinite, read.subscriber) == (True, False, False, "17:34:e2")


@pytest.mark.parametrize(
    ("valid", "state", "holds", "declined"),
    [(200, 0, True, False), (0, 0, False, False), (200, 1, False, True), (200, 2, False, False), (0, 3, False, False),
     (200, 4, True, False), (200, 9, False, False)],
)  # fmt: skip
def test_states(valid: int, state: int, holds: bool, declined: bool) -> None:
    read = columns("hwaddr").read(line4(valid=valid, state=state))
    assert (read.holds, read.declined) == (holds, declined)


def test_an_infinite_lease_does_not_end() -> None:
    read = columns("hwaddr").read(line4(valid=4_294_967_295, expire=4_294_967_295 + 300))
    assert (read.renewed, read.infinite) == (300, True)


def test_a_delegated_prefix_has_its_length_and_an_address_is_one() -> None:
    prefix, address = (
        columns("duid", 6).read(line) for line in (line6("2001:db8:1::", 2, 56), line6("2001:db8::1", 0, 128))
    )
    assert (prefix.address, prefix.bits, prefix.subscriber) == (
        0x2001_0DB8_0001 << 80,
        56,
        "00:01:02:03:04:05:06:0a:0b",
    )
    assert (address.address, address.bits) == (0x2001_0DB8 << 96 | 1, 128)
    assert columns("hostname", 6).read(line6("2001:db8::1", 0, 128)).subscriber == "h,x"


@pytest.mark.parametrize(
    "line",
    [
        b"192.0.2.3", b"", b"\0" * 50, line4() + b",1", line4(address="192.0.2"), line4(address="2001:db8::1"),
        line4(valid=-1), line4(valid="x"), line4(expire="1e3"), line4(valid=600, expire=500), line4(state="x"),
        line4(address="192.0.2.3\xff"), line4(valid=""), line4(expire="9" * 30),
    ],
)  # fmt: skip
def test_what_is_no_line_is_told_apart(line: bytes) -> None:
    with pytest.raises(KeaLineError):
        columns("client_id").read(line)


@pytest.mark.parametrize(
    "line",
    [line6("2001:db8::1", 2, 56), line6("2001:db8::", 2, 0), line6("2001:db8::", 2, 129), line6("192.0.2.1", 0, 128)],
)
def test_a_prefix_that_is_none_is_told_apart(line: bytes) -> None:
    with pytest.raises(KeaLineError):
        columns("duid", 6).read(line)


@pytest.mark.parametrize(
    ("header", "family", "identity", "says"),
    [
        (b"prefix,from,to", 4, "hwaddr", "no column address"),
        (HEADER4, 6, "hwaddr", "no column lease_type"),
        (HEADER6, 4, "client_id", "no column client_id"),
        (HEADER4.partition(b",user_context")[0], 4, "remote_id", "no column user_context"),
        (b"\xff\0", 4, "hwaddr", "no column address"),
    ],
)
def test_another_file_is_told_apart(header: bytes, family: Family, identity: Identity, says: str) -> None:
    with pytest.raises(KeaHeaderError, match=says):
        KeaColumns.of(header, family, identity)


def test_a_file_of_an_older_kea_has_fewer_columns() -> None:
    old = KeaColumns.of(HEADER4.partition(b",state")[0], 4, "hostname")
    read = old.read(b"192.0.2.3,06:07:08:09:1a:bc,,200,500,8,1,1,Host")
    assert (read.holds, read.subscriber) == (True, "Host")


# Option 82 of circuit id "p1/2" and remote id "R-7"; DHCPv6 options of interface id "if9" and remote id "R-7".
RAI = "0104" + b"p1/2".hex() + "0203" + b"R-7".hex()
RELAY6 = "00120003" + b"if9".hex() + "00250007" + "00007ed9" + b"R-7".hex()


@pytest.mark.parametrize(
    ("family", "identity", "context", "expected"),
    [
        (4, "remote_id", f'{{"ISC":{{"relay-agent-info":"0x{RAI}"}}}}', "R-7"),
        (4, "remote_id", '{ "ISC": { "relay-agent-info": { "remote-id": "522D37", "sub-options": "0x02" } } }', "R-7"),
        (4, "remote_id", '{ "ISC": { "relay-agent-info": { "remote-id": "522", "sub-options": "" } } }', ""),
        (4, "circuit_id", f'{{"ISC":{{"relay-agent-info":"0x{RAI}"}}}}', "p1/2"),
        (4, "remote_id", '{"ISC":{"relay-agent-info":{"remote-id":"522D37","sub-options":"0x0102aabb"}}}', "R-7"),
        (4, "circuit_id", f'{{"ISC":{{"relay-agent-info":{{"sub-options":"0x{RAI}","remote-id":"00"}}}}}}', "p1/2"),
        (4, "remote_id", '{"ISC":{"relay-agent-info":"0x0206AABBCC001122"}}', "aabbcc001122"),
        (4, "circuit_id", '{"ISC":{"relay-agent-info":"0x0203522D37"}}', ""),
        (4, "remote_id", '{"ISC":{"relay-agent-info":"0x02FF52"}}', ""),
        (6, "remote_id", f'{{"ISC":{{"relay-info":[{{"hop":0,"options":"0x{RELAY6}","link":"::"}}]}}}}', "R-7"),
        (6, "circuit_id", f'{{"ISC":{{"relay-info":[{{"hop":0,"options":"0x{RELAY6}"}}]}}}}', "if9"),
        (6, "remote_id",
         '{"ISC":{"relay-info":[{"hop":1,"remote-id":"0000000041"},{"hop":0,"remote-id":"0000000042"}]}}', "B"),
        (6, "remote_id", '{"ISC":{"relay-info":[{"hop":1,"remote-id":"0000000041"},{"hop":0}]}}', "A"),
        (4, "remote_id", '{"ISC":{"relay-agent-info":"0xnonsense"}}', ""),
        (4, "remote_id", '{"comment":"x"}', ""),
        (4, "remote_id", "[1]", ""),
        (4, "remote_id", "{", ""),
        (4, "remote_id", "[" * 5_000, ""),
        (6, "remote_id", '{"ISC":{"relay-info":[{"hop":"x","remote-id":"0000000041"}]}}', ""),
        (6, "remote_id", '{"ISC":{"relay-info":{"hop":0}}}', ""),
    ],
)  # fmt: skip
def test_ids_of_relays(family: Family, identity: Identity, context: str, expected: str) -> None:
    assert relay_id(context.encode(), family, identity) == expected
    if family == 4:
        assert columns(identity).read(line4(context=context)).subscriber == expected
