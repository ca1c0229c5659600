"""The operator's table of interfaces: names, descriptions and speeds over those that exporters tell.

A file is judged as a whole before it is used; the last good one stays.  It is known by its inode, size and time of
change, so a refused one is reported once.
"""

import csv
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from collector.decoder.names import Interfaces, Name

HEADER = ("exporter", "interface", "name", "description", "speed")
_MOST_LINES = 1_000_000  # about 300 MB; beyond, it is another file
_LONGEST = 255  # as of names that exporters tell
_MOST_SPEED = 10**15  # bits a second; beyond, the unit is another


class InterfaceFileError(ValueError):
    """A file that is not used; says where and why."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")


class InterfaceFile:
    """The table of one file; looked at every few seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._looked = False

    def read_if_changed(self) -> Interfaces | None:
        """The new table; None: the file is as it was.  InterfaceFileError, once, when it is not sound."""
        try:
            state = self._path.stat()
            signature = state.st_ino, state.st_size, state.st_mtime_ns
        except OSError:
            signature = None
        if self._looked and signature == self._seen:
            return None
        self._looked, self._seen = True, signature
        if signature is None:
            raise InterfaceFileError(self._path, None, "is not there; the last table stays in force")
        return read_interfaces(self._path)


def read_interfaces(path: Path) -> dict[tuple[str, int], Name]:
    """Names by exporter and interface; InterfaceFileError says the first line that is wrong."""
    table: dict[tuple[str, int], Name] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, None)
            if header is None or tuple(header) != HEADER:
                raise InterfaceFileError(path, 1, f"the first line has to be {','.join(HEADER)}")
            for fields in lines:
                for key, name in _line(path, lines.line_num, fields):
                    if key in table:
                        raise InterfaceFileError(path, lines.line_num, f"interface {key[1]} of {key[0]} comes twice")
                    table[key] = name
                if len(table) > _MOST_LINES:
                    raise InterfaceFileError(path, lines.line_num, f"more than {_MOST_LINES} interfaces")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InterfaceFileError(path, None, str(error)) from error
    return table


def _line(path: Path, line: int, fields: list[str]) -> Iterator[tuple[tuple[str, int], Name]]:
    if not fields:
        return
    if len(fields) != len(HEADER):
        raise InterfaceFileError(path, line, f"{len(fields)} fields instead of {len(HEADER)}")
    exporter, interface, name, description, speed = (each.strip() for each in fields)
    try:
        address = ip_address(exporter)
    except ValueError:
        raise InterfaceFileError(path, line, f"exporter {exporter!r} is no address") from None
    exporter = str(getattr(address, "ipv4_mapped", None) or address)  # as the receiver writes it
    number = _integer(path, line, "interface", interface, 2**32 - 1)
    bits = _integer(path, line, "speed", speed or "0", _MOST_SPEED)
    if max(len(name), len(description)) > _LONGEST:
        raise InterfaceFileError(path, line, f"a name or description longer than {_LONGEST} characters")
    yield (exporter, number), Name(name, description, bits)


def _integer(path: Path, line: int, what: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= most and len(text) <= 20):
        raise InterfaceFileError(path, line, f"{what} {text!r} is no whole number up to {most}")
    return int(text)
