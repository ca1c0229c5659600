"""How an address is written, and the next free port where the wanted one is busy: one rule for all that listen."""

import errno
import socket
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PORTS_TRIED = 100
"""A machine whose next hundred ports are all busy has another problem."""


class AllBusy(OSError):  # noqa: N818 - a state, told by its name
    """The wanted port and the next hundred are busy."""


def host_and_port(text: str) -> tuple[str, int]:
    """The two of ``HOST:PORT`` or ``[HOST]:PORT``; ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{text!r}: write HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: put the IPv6 address in brackets, [{host}]:{port}")
    if not host:
        raise ValueError(f"{text!r}: name the host too, 0.0.0.0:{port} or [::]:{port} for all")
    return host, int(port)


def accepting(family: int, address: tuple[object, ...]) -> socket.socket:
    """A TCP socket that takes connections; OSError when the address is busy or not ours."""
    # The protocol by name: without it asyncio leaves Nagle's algorithm on, and an answer may be 40 ms late.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        # Without it two that bind at once would both succeed.
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def next_free(wanted: int, bind: Callable[[int], T]) -> T:
    """What ``bind`` returns for the first port, from ``wanted`` on, that it does not refuse as busy.

    AllBusy after ``PORTS_TRIED``; any other OSError of ``bind`` (an address that is not ours) is raised as it is.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)):
        try:
            return bind(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise AllBusy(errno.EADDRINUSE, f"ports {wanted} to {wanted + PORTS_TRIED - 1} are all busy; choose another")
