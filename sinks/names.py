"""Names of networks: ``networks.csv`` into the store, so that engineers can write them in SQL.

A line names a prefix or an AS: columns ``prefix``, ``asn``, ``name`` and optionally ``country``; each line has exactly
one of prefix and asn.  The file is judged as a whole; the last good set stays in force.  In the store a set is one
insert (``network_name``), from which the dictionaries of the functions ``network_of`` and ``network_of_as`` are read.
"""

import csv
import hashlib
import io
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import structlog

from sinks import Store, StoreRefused, StoreUnavailable
from sinks.inserts import MAX_ROWS

log = structlog.get_logger("sinks")

DICTIONARIES = ("network_by_prefix", "network_by_asn")
MAX_FILE_BYTES = 64 << 20  # MAX_ROWS lines of 128 octets
_MAX_TEXT = 200  # octets of a name: a panel's legend has no room for more
_QUIET_SECONDS = 1.0  # a writer that copies over the file pauses less
_COLUMNS = frozenset({"prefix", "asn", "name", "country"})
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # how IPv4 is stored
_SCHEMA = pa.schema(
    [("made", pa.timestamp("ms", "UTC")), ("prefix", pa.string()), ("asn", pa.uint32()), ("name", pa.string()),
     ("country", pa.string())]
)  # fmt: skip


class NetworkFileError(ValueError):
    """``networks.csv`` cannot be used; says which line and what to do."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(f"{path}{'' if line is None else f', line {line}'}: {problem}")


@dataclass(frozen=True, slots=True)
class Network:
    """One line: a name of a prefix (canonical text) or, where ``prefix`` is empty, of an AS."""

    prefix: str
    asn: int
    name: str
    country: str


@dataclass(frozen=True, slots=True)
class NetworkSet:
    """All lines of one file, and its SHA-256 by which the store knows it."""

    networks: tuple[Network, ...]
    checksum: str


def read_networks(path: Path) -> NetworkSet:
    """The file's networks; NetworkFileError when any line is wrong, OSError when it cannot be read."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise NetworkFileError(path, None, f"has {size} octets, at most {MAX_FILE_BYTES} are read: leave out names")
    body = path.read_bytes()
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NetworkFileError(path, None, f"is not UTF-8 at octet {error.start}: save it as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Network] = []
    lines: dict[tuple[str, int], int] = {}
    header: list[str] = []
    try:
        for fields in reader:
            line = reader.line_num
            if not fields or fields[0].startswith("#"):
                continue
            if not header:
                header = _header(path, line, fields)
                continue
            network = _network(path, line, header, fields)
            first = lines.setdefault((network.prefix, network.asn), line)
            if first != line:
                what = network.prefix or f"AS {network.asn}"
                raise NetworkFileError(path, line, f"{what} has its name on line {first} already: keep one")
            found.append(network)
    except csv.Error as error:
        raise NetworkFileError(path, reader.line_num, f"is not CSV: {error}") from None
    if not header:
        raise NetworkFileError(path, None, "has no header: the first line says prefix,asn,name,country")
    if len(found) >= MAX_ROWS:
        raise NetworkFileError(path, None, f"names {len(found)} networks, a set is one insert of under {MAX_ROWS}")
    return NetworkSet(tuple(found), hashlib.sha256(body).hexdigest())


def put_networks(store: Store, networks: NetworkSet, now: float) -> bool:
    """Put a set in force at Unix time ``now``; False: it is in force already.

    StoreUnavailable and StoreRefused leave the last set in force.
    """
    newest = store.query(
        "SELECT toUnixTimestamp64Milli(made) AS made, name FROM network_name WHERE prefix = '' AND asn = 0"
        " ORDER BY made DESC LIMIT 1"
    ).to_pylist()
    if newest and newest[0]["name"] == networks.checksum:
        reload_names(store)  # a predecessor may have ended between the insert and this
        return False
    # A clock that was set back must not bring an old set into force again.
    made = max(int(now * 1000), newest[0]["made"] + 1 if newest else 0)
    rows = [{"made": made, "prefix": "", "asn": 0, "name": networks.checksum, "country": ""}]
    rows += [
        {"made": made, "prefix": each.prefix, "asn": each.asn, "name": each.name, "country": each.country}
        for each in networks.networks
    ]
    store.insert("network_name", pa.Table.from_pylist(rows, _SCHEMA), token=f"network_name/{made}/{networks.checksum}")
    reload_names(store)
    if newest:
        # The set before stays: a query that runs while the dictionaries are read sees one or the other.
        store.command(f"ALTER TABLE network_name DELETE WHERE made < fromUnixTimestamp64Milli({newest[0]['made']})")
    return True


def reload_names(store: Store) -> None:
    """Let the dictionaries be read anew."""
    for name in DICTIONARIES:
        store.command(f"SYSTEM RELOAD DICTIONARY {name}")


class NetworkFile:
    """The names of one file, kept in the store while the file changes; used by one thread."""

    def __init__(self, store: Store, path: Path, every_seconds: float = 10.0) -> None:
        """``every_seconds`` is how often the file is looked at."""
        self._store, self._path, self._every = store, path, every_seconds
        self._looked_at = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self.failed: str | None = None

    def tend(self, now: float) -> None:
        """Look at the file at Unix time ``now`` and take it if it is new and good; call it often."""
        if now - self._looked_at < self._every:
            return
        self._looked_at = now
        try:
            state = self._path.stat()
            signature = (state.st_ino, state.st_size, state.st_mtime_ns)
            if signature == self._seen:
                return
            if self._seen is not None and 0 <= now - state.st_mtime < _QUIET_SECONDS:
                return  # its writer may not be done
            changed = put_networks(self._store, networks := read_networks(self._path), now)
        except NetworkFileError as error:
            self._seen = signature  # told once, not at every look
            self._fail(str(error))
        except OSError as error:
            self._fail(f"{self._path}: {error.strerror or error}: the last names stay in force")
        except (StoreUnavailable, StoreRefused) as error:
            self._fail(f"{self._path}: the store did not take it: {error}")
        else:
            self._seen, self.failed = signature, None
            if changed:
                log.info("names of networks in force", networks=len(networks.networks), file=str(self._path))

    def _fail(self, reason: str) -> None:
        if reason != self.failed:
            log.error("names of networks refused, the last good ones stay", reason=reason)
        self.failed = reason


def _header(path: Path, line: int, fields: list[str]) -> list[str]:
    names = [field.strip().lower() for field in fields]
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown or len(set(names)) != len(names):
        wrong = f"column {unknown[0]!r} is unknown" if unknown else "a column is there twice"
        raise NetworkFileError(path, line, f"{wrong}: the header names {', '.join(sorted(_COLUMNS))}")
    if "name" not in names or not {"prefix", "asn"} & set(names):
        raise NetworkFileError(path, line, "the header needs name, and prefix or asn")
    return names


def _network(path: Path, line: int, header: list[str], fields: list[str]) -> Network:
    if len(fields) != len(header):
        raise NetworkFileError(path, line, f"has {len(fields)} fields, the header {len(header)}")
    said = {name: field.strip() for name, field in zip(header, fields, strict=True)}
    prefix, asn = said.get("prefix", ""), said.get("asn", "")
    name, country = said["name"], said.get("country", "")
    if bool(prefix) == bool(asn):
        raise NetworkFileError(path, line, "write a prefix or an asn, not both and not neither")
    if not name or len(name.encode()) > _MAX_TEXT or not name.isprintable():
        raise NetworkFileError(path, line, f"name {name[:40]!r} wants 1 to {_MAX_TEXT} printable octets")
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise NetworkFileError(path, line, f"country {country[:40]!r} is no code of two letters (ISO 3166-1)")
    if asn:
        number = asn.upper().removeprefix("AS").strip()
        if not (number.isascii() and number.isdigit() and len(number) <= 10 and 0 < int(number) < 2**32):
            raise NetworkFileError(path, line, f"asn {asn[:40]!r} is no number from 1 to 4294967295")
        return Network("", int(number), name, country.upper())
    return Network(_canonical(path, line, prefix), 0, name, country.upper())


def _canonical(path: Path, line: int, prefix: str) -> str:
    try:
        network = ipaddress.ip_network(prefix)
    except ValueError as error:
        raise NetworkFileError(path, line, f"{error}: write a prefix like 192.0.2.0/24 or 2001:db8::/32") from None
    # The engine's trie answers every address with a prefix of length 0, whatever else is longer.
    if network.prefixlen == 0:
        raise NetworkFileError(path, line, f"{prefix} would name every address: leave it out")
    if isinstance(network, ipaddress.IPv6Network) and network.overlaps(_MAPPED):
        raise NetworkFileError(path, line, f"{prefix} means IPv4 addresses: write them as IPv4")
    return str(network)
