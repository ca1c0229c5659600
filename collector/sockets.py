"""UDP sockets of the collector: bound by a parent process, handed to a child by file descriptor.

The parent keeps them open, so that what the kernel has buffered survives a child's death.
"""

import errno
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import structlog

from sinks.listening import AllBusy, host_and_port, next_free

log = structlog.get_logger()

_SO_RCVBUFFORCE = 33  # linux asm-generic/socket.h; not in Python's socket module
_SO_MEMINFO = 55
_SK_MEMINFO_DROPS = 8  # linux/sock_diag.h


class BindError(Exception):
    """A listening address cannot be used; says which, why and what to do."""


@dataclass(slots=True)
class BoundSocket:
    """A UDP socket and what the kernel granted it."""

    udp: socket.socket
    address: tuple[str, int]  # host and port as bound
    granted_bytes: int  # receive buffer as the kernel accounts it

    @classmethod
    def from_fd(cls, fd: int) -> Self:
        """Take over a bound UDP socket that another process opened; OSError when it is none."""
        return cls.of(socket.socket(fileno=fd))

    @classmethod
    def of(cls, bound: socket.socket) -> Self:
        """Read back what the kernel says of a bound socket."""
        host, port = bound.getsockname()[:2]
        return cls(bound, (host, port), bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))

    @property
    def name(self) -> str:
        """``HOST:PORT`` or ``[HOST]:PORT``; a label of metrics."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def fileno(self) -> int:
        """The file descriptor, for ``subprocess``'s ``pass_fds``."""
        return self.udp.fileno()

    def kernel_drops(self) -> int:
        """Datagrams the kernel dropped since the socket was made, modulo 2^32.

        From SO_MEMINFO on Linux (sock_diag(7)); elsewhere the kernel does not tell and this is 0.
        """
        if not sys.platform.startswith("linux"):
            return 0
        words = self.udp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        # Kernels before 4.6 have no such counter in the answer.
        if len(words) < 4 * (_SK_MEMINFO_DROPS + 1):
            return 0
        (drops,) = struct.unpack_from("=I", words, 4 * _SK_MEMINFO_DROPS)
        return int(drops)

    def close(self) -> None:
        """Let the address go."""
        self.udp.close()


def open_sockets(listen: Sequence[str], buffer_bytes: int) -> list[BoundSocket]:
    """Bind each ``HOST:PORT`` or ``[HOST]:PORT``, the next free port where one is busy; a hundred are tried.

    ``[::]:PORT`` takes IPv4 too.  ``buffer_bytes`` is asked of the kernel, as it accounts a buffer (twice what
    SO_RCVBUF is set to, socket(7)); what it grants less is logged with the sysctl to set.  BindError when an address
    cannot be had; sockets opened until then are closed.
    """
    opened: list[BoundSocket] = []
    try:
        for text in listen:
            opened.append(_open(text, buffer_bytes))
    except BindError:
        for bound in opened:
            bound.close()
        raise
    return opened


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[HOST]:PORT``; BindError says what is wrong."""
    try:
        return host_and_port(text)
    except ValueError as error:
        raise BindError(f"listen address {error}") from None


def _open(text: str, buffer_bytes: int) -> BoundSocket:
    host, port = parse_address(text)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise BindError(
            f"listen address {text!r}: {host} is not an address of this machine ({error.strerror})"
        ) from error
    try:
        made = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise BindError(f"listen address {text!r}: {error.strerror}; listen on 0.0.0.0:{port} instead") from error
    try:
        if family == socket.AF_INET6 and host == "::":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        taken = _bind(made, text, address)
    except BindError:
        made.close()
        raise
    if taken != port and port:
        log.warning("port is busy, took the next free one", wanted=text, taken=taken)
    _ask_buffer(made, buffer_bytes)
    bound = BoundSocket.of(made)
    if bound.granted_bytes < buffer_bytes:
        log.warning(
            "receive buffer is smaller than asked; bursts may be dropped by the kernel",
            socket=bound.name,
            asked_bytes=buffer_bytes,
            granted_bytes=bound.granted_bytes,
            remedy=f"sysctl -w net.core.rmem_max={-(-buffer_bytes // 2)}",
        )
    return bound


def _bind(made: socket.socket, text: str, address: tuple[object, ...]) -> int:
    host, port, *rest = address
    assert isinstance(port, int)
    try:
        next_free(port, lambda candidate: made.bind((host, candidate, *rest)))
    except AllBusy as error:
        raise BindError(f"listen address {text!r}: {error.strerror}") from error
    except OSError as error:
        remedy = "ports below 1024 need CAP_NET_BIND_SERVICE" if error.errno == errno.EACCES else "choose another"
        raise BindError(f"listen address {text!r}: {error.strerror}; {remedy}") from error
    return int(made.getsockname()[1])


def _ask_buffer(made: socket.socket, buffer_bytes: int) -> None:
    # The kernel doubles what is set, for its own bookkeeping (socket(7)).
    half = -(-buffer_bytes // 2)
    if sys.platform.startswith("linux"):
        try:
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, half)
        except PermissionError:
            pass  # without CAP_NET_ADMIN the limit of net.core.rmem_max holds
        else:
            return
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, half)
    except OSError:
        # BSD and macOS refuse what exceeds kern.ipc.maxsockbuf, instead of granting less.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
