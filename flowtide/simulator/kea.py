"""Lease files of a Kea DHCP server: what it appended in [begin_ms, end_ms), after a clean-up of what was before.

Memfile of Kea 2.4 to 3.0, one file for DHCPv4 and one for DHCPv6.  It is a log: a later line of an address replaces
the earlier ones, a valid lifetime of 0 removes it, and a client renews after half of its lifetime.  Values hold
``&#x2c`` in the place of a comma.  The relay's remote id names the subscriber.
"""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.leases import Leases
from flowtide.simulator.population import Population
from sinks.segments import written_beside

COLUMNS4 = (
    "address", "hwaddr", "client_id", "valid_lifetime", "expire", "subnet_id", "fqdn_fwd", "fqdn_rev", "hostname",
    "state", "user_context", "pool_id",
)  # fmt: skip
COLUMNS6 = (
    "address", "duid", "valid_lifetime", "expire", "subnet_id", "pref_lifetime", "lease_type", "iaid", "prefix_len",
    "fqdn_fwd", "fqdn_rev", "hostname", "hwaddr", "state", "user_context", "hwtype", "hwaddr_source", "pool_id",
)  # fmt: skip
VALID_SECONDS = 7_200
_NA, _PD = 0, 2  # lease_type: an address, a delegated prefix
_REMOTE_ID4, _REMOTE_ID6 = 2, 37  # RFC 3046 sub-option, RFC 4649 option
_ENTERPRISE = 32_473  # RFC 5612: for documentation

Line = Callable[[int, int, int], str]
"""Of a lease, its valid lifetime and the time of expiry in Unix seconds."""


def write_kea4(
    path: Path, leases: Leases, population: Population, begin_ms: int, end_ms: int, *,
    access: Sequence[str] = ("ipoe",), valid_seconds: int = VALID_SECONDS,
) -> int:  # fmt: skip
    """The DHCPv4 file of the users of these accesses; returns its lines without the header.

    Shared addresses are left out: they are no lease of DHCP.
    """

    def line(row: int, valid: int, expire: int) -> str:
        user = int(leases.user[row])
        remote = population.subscriber[user].encode()
        options = bytes([_REMOTE_ID4, len(remote)]) + remote
        context = f'"relay-agent-info": {{ "remote-id": "{_hex(remote)}", "sub-options": "0x{_hex(options)}" }}'
        return ",".join(
            (
                str(IPv4Address(leases.address[row, 12:].tobytes())), hardware(user), f"01:{hardware(user)}",
                str(valid), str(expire), "1", "0", "0", "", "0", _context(context), "0",
            )
        )  # fmt: skip

    rows = _rows(leases, population, access)
    whole = (leases.port_from[rows] == 0) & (leases.port_to[rows] == 65_535)
    v4 = rows[whole & leases.is_v4[rows]]
    return _write(path, COLUMNS4, line, leases, v4, (begin_ms, end_ms), valid_seconds)


def write_kea6(
    path: Path, leases: Leases, population: Population, begin_ms: int, end_ms: int, *,
    access: Sequence[str] = ("ipoe",), valid_seconds: int = VALID_SECONDS,
) -> int:  # fmt: skip
    """The DHCPv6 file: delegated prefixes, and addresses where a lease is of one; returns as ``write_kea4``."""

    def line(row: int, valid: int, expire: int) -> str:
        user, bits = int(leases.user[row]), int(leases.bits[row])
        remote = _ENTERPRISE.to_bytes(4) + population.subscriber[user].encode()
        options = _REMOTE_ID6.to_bytes(2) + len(remote).to_bytes(2) + remote
        context = (
            f'"relay-info": [ {{ "hop": 0, "link": "2001:db8:ffff::1", "options": "0x{_hex(options)}",'
            f' "peer": "fe80::1", "remote-id": "{_hex(remote)}" }} ]'
        )
        return ",".join(
            (
                # DUID of type 3 (link-layer address, RFC 8415 section 11.4) on Ethernet.
                str(IPv6Address(leases.address[row].tobytes())), f"00:03:00:01:{hardware(user)}", str(valid),
                str(expire), "1", str(valid * 5 // 8), str(_NA if bits == 128 else _PD), "1", str(bits), "0", "0", "",
                hardware(user), "0", _context(context), "1", "2", "0",
            )
        )  # fmt: skip

    rows = _rows(leases, population, access)
    v6 = rows[~leases.is_v4[rows]]
    return _write(path, COLUMNS6, line, leases, v6, (begin_ms, end_ms), valid_seconds)


def hardware(user: int) -> str:
    """Address of the user's home gateway; bit 2 of the first octet: nobody's product."""
    return "02:00:5e:" + ":".join(f"{octet:02x}" for octet in user.to_bytes(3))


def _rows(leases: Leases, population: Population, access: Sequence[str]) -> NDArray[np.int64]:
    users = [population.of(service, tuple(access)) for service in ("fixed", "mobile")]
    return np.flatnonzero(np.isin(leases.user, np.concatenate(users)))


def _write(
    path: Path, columns: Sequence[str], line: Line, leases: Leases, rows: NDArray[np.int64], span_ms: tuple[int, int],
    valid_seconds: int,
) -> int:  # fmt: skip
    """A line at the begin of each lease, at each renewal and at its end, in order of time."""
    begin, end = span_ms
    renewal = valid_seconds * 500
    since, until = leases.since_ms[rows], leases.until_ms[rows]
    there = (since < end) & (until > begin)
    rows, since, until = rows[there], since[there], until[there]
    # Of a lease that began before, the clean-up left the last renewal.
    first = since + np.maximum((begin - 1 - since) // renewal, 0) * renewal
    count = np.maximum(-((first - np.minimum(until, end)) // renewal), 1)
    row = np.repeat(np.arange(len(rows)), count)
    at = first[row] + (np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)) * renewal
    ended = np.flatnonzero(until < end)
    # Who gives an address back comes before who gets it at the same time.
    row, at = np.concatenate([row, ended]), np.concatenate([at, until[ended]])
    given_back = np.arange(len(row)) >= len(row) - len(ended)
    order = np.lexsort((row, ~given_back, at))
    with written_beside(path) as draft, draft.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(columns) + "\n")
        for each in order.tolist():
            lease, moment = int(rows[row[each]]), int(at[each]) // 1000
            valid, expire = (0, moment) if given_back[each] else (valid_seconds, moment + valid_seconds)
            file.write(line(lease, valid, expire) + "\n")
    return len(order)


def _context(text: str) -> str:
    """Kea's user context, with its escape for commas."""
    return f'{{ "ISC": {{ {text} }} }}'.replace(",", "&#x2c")


def _hex(value: bytes) -> str:
    return value.hex().upper()
