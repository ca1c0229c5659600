"""The next free port where the wanted one is busy: the same rule for every address this machine listens on."""

import errno
import socket
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PORTS_TRIED = 100
"""A machine whose next hundred ports are all busy has another problem."""


class AllBusy(OSError):  # noqa: N818 - a state, told by its name
    """The wanted port and the next hundred are busy."""


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
