"""RADIUS requests as others read and write them (tshark, scapy, FreeRADIUS), sessions by hand, and the client."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.radius import Radius
from scapy.utils import wrpcap

from flowtide.simulator.leases import HELD, Leases, lease
from flowtide.simulator.population import Population, populate
from flowtide.simulator.radius import Cause, Client, Nas, Record, Status, answers, disorder, encode
from flowtide.simulator.radius_sessions import MOBILE_NAS, PPPOE_NAS, Restart, sessions
from flowtide.simulator.scenario import PeoplePlan

SECRET = b"a secret of 29 octets exactly"
NAS = Nas("192.0.2.201", "bras-1")
STOP = Record(
    at_ms=1_717_340_400_999, status=Status.STOP, nas=NAS, session="00000100018f", user="fixed-000001",
    charged="fixed-000001", label="fixed;personal;pppoe;east", calling="02-00-5E-00-00-01", port="ge-0/0/1:2",
    ipv4="198.18.0.7", ipv6_address="2001:db8:2::7", ipv6_prefix="2001:db8:3:4::/64",
    ipv6_delegated="2001:db8:1000:ff00::/56", in_octets=5, out_octets=3 * 2**32 + 17, seconds=86_400, delay_seconds=12,
    cause=Cause.USER_REQUEST,
)  # fmt: skip
START = Record(at_ms=1_717_340_400_000, status=Status.START, nas=Nas("2001:db8::1", "pgw-2"), session="s", user="u")
ON = Record(at_ms=1_717_340_400_000, status=Status.ON, nas=NAS)


def tshark(folder: Path, datagrams: list[bytes], *fields: str) -> list[list[str]]:
    """The fields of each datagram, as tshark reads them."""
    program("tshark", "tshark")
    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="192.0.2.1", dst="192.0.2.2")
    frames = [head / UDP(sport=40_000 + at, dport=1813) / each for at, each in enumerate(datagrams)]
    wrpcap(str(folder / "radius.pcap"), frames)
    answer = subprocess.run(
        ["tshark", "-r", folder / "radius.pcap", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=|",
         *(word for name in fields for word in ("-e", name))],
        check=True, timeout=60, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    return [line.split("\t") for line in answer.stdout.splitlines()]


def program(name: str, package: str) -> None:
    """Skip where it is not installed."""
    if not shutil.which(name):
        reason = f"{name} is not installed (Debian package {package})"
        pytest.fail(reason) if os.environ.get("FLOWTIDE_NO_SKIP") == "1" else pytest.skip(reason)


def test_every_attribute_as_tshark_reads_it(tmp_path: Path) -> None:
    expected = {
        "radius.code": "4", "radius.id": "9",
        "radius.Acct_Status_Type": "2", "radius.User_Name": "fixed-000001", "radius.NAS_IP_Address": "192.0.2.201",
        "radius.Framed-IP-Address": "198.18.0.7", "radius.Class": b"fixed;personal;pppoe;east".hex(),
        "radius.Calling_Station_Id": "02-00-5E-00-00-01", "radius.NAS_Identifier": "bras-1",
        "radius.Acct_Delay_Time": "12", "radius.Acct_Session_Id": "00000100018f", "radius.Acct_Input_Octets": "5",
        "radius.Acct_Input_Gigawords": "0", "radius.Acct_Output_Octets": "17", "radius.Acct_Output_Gigawords": "3",
        "radius.Acct_Session_Time": "86400", "radius.Acct_Terminate_Cause": "1", "radius.NAS_Port_Id": "ge-0/0/1:2",
        "radius.Event_Timestamp": "Jun  2, 2024 15:00:00.000000000 UTC", "radius.Framed_IPv6_Address": "2001:db8:2::7",
        "radius.Framed_IPv6_Prefix": "004020010db800030004", "radius.Delegated_IPv6_Prefix": "003820010db81000ff",
        "radius.Chargeable_User_Identity": "fixed-000001",
    }  # fmt: skip
    seen = tshark(tmp_path, [encode(STOP, SECRET, 9)], *expected)
    assert dict(zip(expected, seen[0], strict=True)) == expected


def test_no_attribute_where_there_is_nothing_to_say(tmp_path: Path) -> None:
    seen = tshark(
        tmp_path, [encode(START, SECRET, 0), encode(ON, SECRET, 255)], "radius.avp.type", "radius.NAS_IPv6_Address"
    )
    assert seen == [["40|1|95|32|41|44|55", "2001:db8::1"], ["40|4|32|41|44|55", ""]]


# As STOP, in the order in which it is encoded; without prefixes, of which it sends zeros that RFC 3162 lets us omit.
STOP_OF_RADCLIENT = """\
Acct-Status-Type = Stop, User-Name = "fixed-000001", NAS-IP-Address = 192.0.2.201, Framed-IP-Address = 198.18.0.7,
Class = 0x66697865643b706572736f6e616c3b7070706f653b65617374, Calling-Station-Id = "02-00-5E-00-00-01",
NAS-Identifier = "bras-1", Acct-Delay-Time = 12, Acct-Session-Id = "00000100018f", Acct-Input-Octets = 5,
Acct-Input-Gigawords = 0, Acct-Output-Octets = 17, Acct-Output-Gigawords = 3, Acct-Session-Time = 86400,
Acct-Terminate-Cause = User-Request, Event-Timestamp = "Jun  2 2024 15:00:00 UTC", NAS-Port-Id = "ge-0/0/1:2",
Chargeable-User-Identity = "fixed-000001", Framed-IPv6-Address = 2001:db8:2::7
"""


def test_freeradius_sends_the_same_octets(servers: list["Server"]) -> None:
    """With its authenticator, and it takes the answer that our client takes."""
    program("radclient", "freeradius-utils")
    servers.append(Server())
    host, port = servers[0].socket.getsockname()
    subprocess.run(
        ["radclient", "-c", "1", "-r", "1", "-t", "3", f"{host}:{port}", "acct", SECRET.decode()],
        input=STOP_OF_RADCLIENT.replace(",\n", ", "), check=True, timeout=20, text=True, capture_output=True,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    record = replace(STOP, ipv6_prefix="", ipv6_delegated="")
    assert servers[0].seen == [encode(record, SECRET, servers[0].seen[0][1])]


@pytest.mark.parametrize("record", [STOP, START, ON], ids=["stop", "start", "on"])
def test_scapy_reads_every_octet(record: Record) -> None:
    data = encode(record, SECRET, 77)
    seen = Radius(data)
    assert (seen.code, seen.id, seen.len) == (4, 77, len(data))
    assert sum(each.len for each in seen.attributes) == len(data) - 20
    named = {each.type: each for each in seen.attributes}
    assert len(named) == len(seen.attributes)  # none comes twice
    assert named[40].value == record.status
    if record is STOP:
        assert named[8].value == "198.18.0.7"
        assert named[43].value + 2**32 * named[53].value == STOP.out_octets


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="attribute 1 of 254 octets"):
        encode(replace(STOP, user="u" * 254), SECRET, 0)


class Server:
    """Answers as RFC 2866 has it; ``deaf`` to so many datagrams, ``liar`` in the next ones."""

    def __init__(self, deaf: int = 0, liar: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.seen: list[bytes] = []
        self._deaf, self._liar = deaf, liar
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while data := self.socket.recvfrom(4_096):
            request, sender = data
            if not request:
                return
            self.seen.append(request)
            if len(self.seen) <= self._deaf:
                continue
            head = bytes([5, request[1], 0, 20])
            secret = b"wrong" if len(self.seen) <= self._deaf + self._liar else SECRET
            self.socket.sendto(head + hashlib.md5(head + request[4:20] + secret).digest(), sender)

    def close(self) -> None:
        self.socket.sendto(b"", self.socket.getsockname())
        self._thread.join()
        self.socket.close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for each in made:
        each.close()


def test_a_request_is_repeated_until_its_answer_is_true(servers: list[Server]) -> None:
    servers.append(Server(deaf=1, liar=1))
    client = Client(servers[0].socket.getsockname(), SECRET, wait_seconds=0.1)
    assert client.send(START)
    assert (client.retries, client.refused, client.unanswered) == (2, 1, 0)
    assert len(servers[0].seen) == 3
    assert len(set(servers[0].seen)) == 1
    assert client.send(STOP)
    assert [each[1] for each in servers[0].seen] == [0, 0, 0, 1]
    client.close()


def test_without_an_answer_it_gives_up(servers: list[Server]) -> None:
    servers.append(Server(deaf=9))
    client = Client(servers[0].socket.getsockname(), SECRET, wait_seconds=0.02, tries=2)
    assert not client.send(START)
    assert (client.unanswered, len(servers[0].seen)) == (1, 2)
    client.close()


def test_only_loopback_is_a_target() -> None:
    with pytest.raises(ValueError, match="not a loopback address"):
        Client(("192.0.2.1", 1813), SECRET)


def test_an_answer_to_another_request_is_none() -> None:
    request = encode(START, SECRET, 3)
    head = bytes([5, 3, 0, 20])
    answer = head + hashlib.md5(head + request[4:20] + SECRET).digest()
    assert answers(answer, request, SECRET)
    assert answers(answer + b"padding", request, SECRET)
    assert not answers(answer, encode(START, SECRET, 4), SECRET)
    assert not answers(bytes([2]) + answer[1:], request, SECRET)
    assert not answers(answer[:19], request, SECRET)
    assert not answers(answer, encode(STOP, SECRET, 3), SECRET)


def records(count: int) -> list[Record]:
    """One a second, Start and Stop in turn."""
    return [
        replace(STOP if at % 2 else START, at_ms=at * 1_000, session=str(at), delay_seconds=0) for at in range(count)
    ]


def test_without_disorder_nothing_changes() -> None:
    assert list(disorder(records(50), 1)) == [(each.at_ms, each) for each in records(50)]


def test_disorder_loses_repeats_and_delays() -> None:
    made = list(disorder(records(4_000), 1, lost_stops=0.25, duplicates=0.1, late_seconds=5))
    assert made == list(disorder(records(4_000), 1, lost_stops=0.25, duplicates=0.1, late_seconds=5))
    arrived = [at_ms for at_ms, _ in made]
    assert arrived == sorted(arrived)
    sessions = [int(each.session) for _, each in made]
    assert sessions != sorted(sessions)
    distinct = set(sessions)
    assert all(at in distinct for at in range(0, 4_000, 2))
    # Four standard deviations of a binomial: sqrt(2000 / 4 * 3 / 4) = 19, sqrt(3500 / 10 * 9 / 10) = 18.
    assert 2_000 - len(distinct & set(range(1, 4_000, 2))) == pytest.approx(500, abs=77)
    assert len(sessions) - len(distinct) == pytest.approx(350, abs=72)
    for at_ms, record in made:
        assert 0 <= at_ms - record.at_ms < 10_000
        assert 0 <= record.delay_seconds <= (at_ms - record.at_ms) // 1_000


NOON = 1_717_383_600_000
DAY = 86_400_000
PLAN = PeoplePlan(pppoe=4, ipoe=1, mobile=2)


@pytest.fixture(scope="module")
def population() -> Population:
    return populate(PLAN, 1)


def leased(population: Population, *lines: tuple[int, str, int, int]) -> Leases:
    """By hand: user, prefix, since and until."""
    lines = tuple(sorted(lines, key=lambda line: line[2]))
    networks = [ip_network(line[1]) for line in lines]
    address = [
        ip_address(f"::ffff:{each.network_address}" if each.version == 4 else each.network_address).packed
        for each in networks
    ]
    bits = [each.prefixlen + (96 if each.version == 4 else 0) for each in networks]
    count = len(lines)
    return Leases(
        population, np.array([line[0] for line in lines], "i4"), np.frombuffer(b"".join(address), "u1").reshape(-1, 16),
        np.array(bits, "u1"), np.zeros(count, "u2"), np.full(count, 65_535, "u2"),
        np.array([line[2] for line in lines], "i8"), np.array([line[3] for line in lines], "i8"),
    )  # fmt: skip


def told(records: Iterator[Record]) -> list[tuple[float, str, str, str, str]]:
    """Minutes from noon, what, who and with which addresses."""
    return [
        ((each.at_ms - NOON) / 60_000, each.status.name, each.user, each.ipv4, each.ipv6_delegated or each.ipv6_prefix)
        for each in records
    ]


def test_a_session_ends_where_an_address_changes(population: Population) -> None:
    hour = 3_600_000
    leases = leased(
        population,
        (0, "198.18.0.1/32", NOON - DAY, NOON + hour), (1, "198.18.0.1/32", NOON + hour, HELD),
        (0, "198.18.0.9/32", NOON + hour, HELD), (0, "2001:db8:1000:100::/56", NOON - DAY, HELD),
    )  # fmt: skip
    first, second = population.subscriber[:2]
    six = "2001:db8:1000:100::/56"
    made = list(sessions(leases, population, NOON - 60_000, NOON + 3 * hour, 2_700))
    assert told(iter(made)) == [
        # Of the session that began the day before, each 45 minutes from there.
        (0, "INTERIM", first, "198.18.0.1", six), (45, "INTERIM", first, "198.18.0.1", six),
        (60, "STOP", first, "198.18.0.1", six), (60, "START", first, "198.18.0.9", six),
        (60, "START", second, "198.18.0.1", ""), (105, "INTERIM", first, "198.18.0.9", six),
        (105, "INTERIM", second, "198.18.0.1", ""), (150, "INTERIM", first, "198.18.0.9", six),
        (150, "INTERIM", second, "198.18.0.1", ""),
    ]  # fmt: skip
    assert len({each.session for each in made}) == 3
    assert [each.seconds for each in made[:4]] == [86_400, 86_400 + 2_700, 86_400 + 3_600, 0]
    assert [each.cause for each in made[2:4]] == [Cause.USER_REQUEST, Cause.NONE]
    assert made[0].label == "fixed;personal;pppoe;" + population.labels_of(0)[3]


def test_an_address_that_is_given_back_is_in_no_later_session(population: Population) -> None:
    leases = leased(
        population,
        (0, "198.18.0.1/32", NOON, NOON + 60_000), (0, "2001:db8:1000:100::/56", NOON, HELD),
        (0, "198.18.0.1/32", NOON + 120_000, HELD),
    )  # fmt: skip
    made = [(what, ipv4) for _, what, _, ipv4, _ in told(sessions(leases, population, NOON, NOON + DAY, 0))]
    first, other = "198.18.0.1", ""
    assert made == [("START", first), ("STOP", first), ("START", other), ("STOP", other), ("START", first)]


def test_octets_are_those_of_the_user_by_direction(population: Population) -> None:
    leases = leased(population, (0, "198.18.0.1/32", NOON, NOON + 2 * DAY))
    *_, stop = sessions(leases, population, NOON, NOON + 3 * DAY, DAY / 1000)
    assert stop.status is Status.STOP
    assert [stop.in_octets, stop.out_octets] == (2 * population.octets_a_day[0]).tolist()

    def octets(user: Any, since: Any, until: Any) -> Any:
        return np.stack([user + 1, (until - since) // 1000], axis=1)

    start, stop = sessions(leases, population, NOON, NOON + 3 * DAY, 0, octets=octets)
    assert (start.in_octets, start.out_octets, stop.in_octets, stop.out_octets) == (0, 0, 1, 172_800)


def test_only_who_dials_in_has_sessions(population: Population) -> None:
    mobile, ipoe = int(population.of("mobile")[0]), int(population.of("fixed", ("ipoe",))[0])
    leases = leased(
        population, (mobile, "2001:db8:2000:1::/64", NOON, HELD), (ipoe, "198.18.0.3/32", NOON, HELD)
    )  # fmt: skip
    (start,) = sessions(leases, population, NOON, NOON + 1_000, 600)
    assert (start.user, start.ipv6_prefix, start.calling) == (
        population.subscriber[mobile], "2001:db8:2000:1::/64", f"999{mobile:09}",
    )  # fmt: skip
    assert start.nas in MOBILE_NAS


@pytest.mark.parametrize("orderly", [True, False])
def test_a_restart_ends_the_sessions_of_its_nas(population: Population, orderly: bool) -> None:
    leases = leased(population, (0, "198.18.0.1/32", NOON, HELD), (1, "198.18.0.2/32", NOON, HELD))
    restart = Restart(PPPOE_NAS[0], NOON + 600_000, orderly)
    made = list(sessions(leases, population, NOON, NOON + 900_000, 0, restarts=[restart]))
    after = [(each.status.name, each.user, each.cause.name) for each in made if each.at_ms > NOON]
    first = population.subscriber[0]
    ends = [("STOP", first, "NAS_REBOOT"), ("OFF", "", "NAS_REBOOT")] if orderly else []
    assert after == [*ends, ("ON", "", "NONE"), ("START", first, "NONE")]


def test_sessions_of_many_users_against_a_plain_reading_of_the_leases() -> None:
    """Who holds an address by Starts and Stops alone, minute by minute."""
    plan = PeoplePlan(pppoe=60, ipoe=5, mobile=40, churn=50)
    people = populate(plan, 3)
    begin = NOON - DAY
    leases = lease(plan, people, 3, begin, NOON + DAY, "Asia/Tokyo")
    made = list(sessions(leases, people, begin - 40 * DAY, NOON + DAY, 0))
    assert [each.at_ms for each in made] == sorted(each.at_ms for each in made)
    held: dict[str, str] = {}
    waiting = iter(made)
    record = next(waiting, None)
    for at in range(begin, NOON + DAY, 1_800_000):
        while record and record.at_ms <= at:
            if record.status is Status.START:
                assert record.ipv4 not in held
                held[record.ipv4] = record.user
            else:
                assert held.pop(record.ipv4) == record.user
            record = next(waiting, None)
        expected = {
            str(ip_address(leases.address[row].tobytes()[12:])): people.subscriber[int(leases.user[row])]
            for row in np.flatnonzero(leases.is_v4 & (leases.since_ms <= at) & (at < leases.until_ms)).tolist()
            if people.labels_of(int(leases.user[row]))[2] != "ipoe"
        }
        assert held == expected
    assert sum(each.status is Status.STOP for each in made) > 50
