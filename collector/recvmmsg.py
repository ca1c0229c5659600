"""Linux ``recvmmsg`` without an extension module: many datagrams a system call, into memory kept.

A slab is one anonymous mapping cut into slots.  Pages that no datagram touched cost nothing, so slots can be as large
as the largest datagram expected.  The kernel writes lengths, flags and source addresses into arrays of C structures
that NumPy reads in bulk.
"""

import ctypes
import errno
import ipaddress
import mmap
import os
import socket
import sys
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import NAME_OCTETS, Datagrams, Slots
from collector.ledger import UNTOUCHED

LARGEST = 65_536
"""Octets of a slot that no UDP datagram overflows (65,507 over IPv4, RFC 768)."""

_MSG_TRUNC = 0x20
_PAGE = mmap.PAGESIZE
_MAP_NORESERVE = 0x4000  # not in Python's mmap before 3.13; untouched pages must not count as committed
_MAX_INTERNED = 65_536  # exporter addresses; a flood of spoofed ones must not grow without end


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_size_t), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_size_t),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_size_t),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_size_t),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint))


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _dtype(structure: type[ctypes.Structure], *fields: str) -> np.dtype[np.void]:
    """NumPy's view of a C structure: offsets are the platform's, and only ``fields`` are named."""
    places = {}
    for field in fields:
        offset, kind = 0, cast(Any, structure)
        for name in field.split("."):
            offset += getattr(kind, name).offset
            kind = dict(kind._fields_)[name]
        places[field.rpartition(".")[2]] = (f"u{ctypes.sizeof(kind)}", offset)
    formats, offsets = zip(*places.values(), strict=True)
    return np.dtype(
        {"names": list(places), "formats": formats, "offsets": offsets, "itemsize": ctypes.sizeof(structure)}
    )


_VECTOR = _dtype(_IoVec, "base", "length")
MESSAGE = _dtype(
    _MMsgHdr, "header.name", "header.name_length", "header.iov", "header.iov_length", "header.flags", "length"
)
"""One ``struct mmsghdr``."""


def _load() -> Any:
    """The C library's ``recvmmsg``, or None where there is none (macOS, Windows)."""
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
        function.restype = ctypes.c_int
    return function


_recvmmsg = _load()


def available() -> bool:
    """Whether this platform has ``recvmmsg``."""
    return _recvmmsg is not None


class Addresses(dict[bytes, str]):
    """Socket addresses (struct sockaddr_in or _in6, port zeroed) -> normalised text, kept."""

    def __missing__(self, sockaddr: bytes) -> str:
        if len(self) >= _MAX_INTERNED:
            self.clear()
        text = self[sockaddr] = address_text(sockaddr)
        return text


def address_text(sockaddr: bytes) -> str:
    """Text of a struct sockaddr_in or _in6 in host layout; ``::ffff:192.0.2.1`` is ``192.0.2.1``."""
    family = int.from_bytes(sockaddr[:2], sys.byteorder)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family != socket.AF_INET6:
        return "unknown"
    scope = int.from_bytes(sockaddr[24:28], sys.byteorder)
    text = socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    return normalised(f"{text}%{scope}" if scope else text)


def normalised(address: str) -> str:
    """One spelling an exporter: lower case, compressed, IPv4-mapped as IPv4."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


class Slab:
    """Slots for ``slots`` datagrams of up to ``slot_bytes``; filled from the front, read as a whole, used again.

    One thread fills, then one thread reads: the slab is handed from the one to the other.
    """

    def __init__(
        self,
        slots: int,
        slot_bytes: int,
        budget_bytes: int | None = None,
        place: int = 0,
        messages: NDArray[Any] | None = None,
    ) -> None:
        """``budget_bytes`` bounds the memory touched (default: all of it): a slab is full when slots or bytes are.

        ``messages`` is memory for ``slots`` of ``MESSAGE``, the ledger's at ``place``; default: its own.
        """
        self.slots, self.slot_bytes = slots, slot_bytes
        self.budget_bytes = budget_bytes or slots * slot_bytes
        self.count = 0  # datagrams held
        self.used_bytes = 0  # memory touched by them, in whole pages where slots are pages
        self.place = place
        self.serial = 0  # of this filling, counted over all slabs
        self.filled_ms = 0  # Unix milliseconds of the last read, set by who fills
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        # One slot more, untouched: octets of a set may be copied together with what lies behind it.
        self._memory = mmap.mmap(-1, (slots + 1) * slot_bytes, flags=flags)
        # With huge pages one small datagram would cost 2 MiB.
        self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._octets = np.frombuffer(self._memory, "u1")

        indexes = np.arange(slots)
        self._names = np.zeros((slots, NAME_OCTETS), np.uint8)
        self._vectors = np.zeros(slots, _VECTOR)
        self._vectors["base"] = self._octets.ctypes.data + indexes * slot_bytes
        self._vectors["length"] = slot_bytes
        if messages is None:
            messages = np.zeros(slots, MESSAGE)
        self._messages = messages
        messages["length"] = UNTOUCHED
        messages["name"] = self._names.ctypes.data + indexes * NAME_OCTETS
        messages["name_length"] = NAME_OCTETS
        messages["iov"] = self._vectors.ctypes.data + indexes * _VECTOR.itemsize
        messages["iov_length"] = 1
        self._pointer: int = messages.ctypes.data
        self._name_lengths, self._flags, self._lengths = messages["name_length"], messages["flags"], messages["length"]

    def room(self) -> int:
        """How many more datagrams fit, whatever their size; 0: the slab is full."""
        return min(self.slots - self.count, (self.budget_bytes - self.used_bytes) // self.slot_bytes)

    def fill(self, fd: int, most: int, wait_seconds: float = 0.0) -> int:
        """Read up to ``most`` datagrams behind those held; how many came.

        Without ``wait_seconds`` takes what waits.  With it goes on taking what arrives, for as long as that (below
        1 s), or until the socket has been quiet for its SO_RCVTIMEO; the socket must be a blocking one.  The
        interpreter's lock is free during the call.  OSError when the socket itself is broken; transient errors
        (interrupted, none waiting, an ICMP error queued by the kernel) read as 0.
        """
        at = self.count
        wanted = min(most, self.room())
        if wanted <= 0:
            return 0
        address = self._pointer + at * MESSAGE.itemsize
        if wait_seconds:
            # The kernel looks at the limit after each datagram only, hence SO_RCVTIMEO (recvmmsg(2), bugs).
            limit = _TimeSpec(0, int(wait_seconds * 1e9))
            came: int = _recvmmsg(fd, address, wanted, 0, ctypes.addressof(limit))
        else:
            came = _recvmmsg(fd, address, wanted, socket.MSG_DONTWAIT, None)
        if came <= 0:
            error = ctypes.get_errno() if came < 0 else 0
            if error in _BROKEN:
                raise OSError(error, f"recvmmsg on file descriptor {fd}: {os.strerror(error)}")
            return 0
        self.count = at + came
        if self.slot_bytes >= LARGEST:
            lengths = self._lengths[at : at + came]
            # Each slot starts on a page, and a page is what a datagram costs at least.
            self.used_bytes += int(np.maximum(-(-lengths.astype(np.int64) // _PAGE), 1).sum()) * _PAGE
        return came

    def datagrams(self, addresses: Addresses) -> Datagrams:
        """All datagrams held, valid until ``clear``."""
        count = self.count
        names = self._names[:count]
        names[:, 2:4] = 0  # the port is no part of an exporter's identity
        cut = self._flags[:count] & _MSG_TRUNC != 0
        slots = Slots(
            self._octets, self.slot_bytes, self._lengths[:count].astype("i8"), names, addresses.__getitem__,
            cut if cut.any() else None,
        )  # fmt: skip
        return Datagrams.of(slots, self.filled_ms)

    def octets(self) -> int:
        """Payload octets held."""
        return int(self._lengths[: self.count].sum())

    def truncated(self) -> int:
        """How many of the datagrams held were longer than their slot."""
        return int(np.count_nonzero(self._flags[: self.count] & _MSG_TRUNC))

    def clear(self) -> None:
        """Forget all datagrams; views of them must not be read any more."""
        # The kernel wrote the lengths it used over the lengths it may use.
        self._name_lengths[: self.count] = NAME_OCTETS
        self._lengths[: self.count] = UNTOUCHED  # what the ledger counts of a slab
        self._names[: self.count] = 0  # a shorter IPv4 name must not keep the end of an IPv6 one
        if self.used_bytes > self.count * _PAGE:
            # Large datagrams touched many pages of wide slots: give them back, or slot after slot stays resident.
            self._memory.madvise(mmap.MADV_DONTNEED)
        self.count = self.used_bytes = 0


_BROKEN = frozenset((errno.EBADF, errno.ENOTSOCK, errno.EFAULT, errno.EINVAL))
