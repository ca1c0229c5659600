"""Packing of bodies and answers over HTTP: the encodings that have a name, and ClickHouse's own blocks; no I/O.

``compress=1`` and ``decompress=1`` mean blocks of ClickHouse's native protocol: CityHash128 (of the version ClickHouse
froze) of the rest, then method, size of the rest without the checksum, size unpacked, data.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import pyarrow as pa
from clickhouse_cityhash.cityhash import CityHash128

from sinks.http_answer import error

ENCODINGS = ("zstd", "lz4", "gzip", "br", "deflate")
"""Content encodings that are read and written; the first that a client takes is used.

Of 32 MB of flow rows as text: zstd and lz4 5 to 10 times the speed of gzip's level 1.
"""
FRAMED = "clickhouse"
"""Our name for ``compress=1``: the framing has none of HTTP's."""

MAX_BLOCK = 64 << 20
"""Bytes of one framed block, packed or not: drivers write 1 MB, the server refuses beyond 1 GB."""

_ARROW_NAMES = {"br": "brotli"}
_CHECKSUM, _HEADER = struct.Struct("<QQ"), struct.Struct("<BII")
_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90
_METHODS = {_LZ4: "lz4_raw", _ZSTD: "zstd"}
_PIECE = 1 << 20


class Packer(Protocol):
    """Packs one answer, piece by piece."""

    def pack(self, piece: bytes) -> bytes:
        """What can be sent after this piece, maybe nothing yet."""
        ...

    def finish(self) -> bytes:
        """What is left at the end."""
        ...


def choose(accepted: str) -> str:
    """The encoding to answer with, of an Accept-Encoding header; empty: none."""
    wanted = set()
    for entry in accepted.lower().split(","):
        name, _, quality = entry.partition(";")
        if quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            wanted.add(name.strip())
    return next((name for name in ENCODINGS if name in wanted), "")


def packer(encoding: str) -> Packer:
    """The packer of an encoding of ``ENCODINGS``, or ``FRAMED``."""
    if encoding == FRAMED:
        return _Framer()
    if encoding in ("gzip", "deflate"):
        return _Zlib(encoding)
    return _Arrow(encoding)


def unpack(read: Callable[[int], bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """Pieces of a packed body; StoreRefused for one that cannot be unpacked, or has more than ``limit`` bytes.

    ``read(n)`` gives at most n bytes, none at the end.
    """
    if encoding in ("", "identity"):
        pieces = iter(lambda: read(_PIECE), b"")
    elif encoding == FRAMED:
        pieces = _unframed(read)
    elif encoding in ("gzip", "deflate"):
        pieces = _inflated(read, encoding)
    elif encoding in ENCODINGS:
        pieces = _by_arrow(read, encoding)
    else:
        raise error(48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding} is not spoken here: send"
                    f" {', '.join(ENCODINGS)} or none")  # fmt: skip
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            # A few KB can unpack to gigabytes.
            raise error(307, "TOO_MANY_BYTES", f"the body unpacks to more than {limit} bytes: cut it")
        yield piece


class _Zlib:
    def __init__(self, encoding: str) -> None:
        # Level 1: three times the speed of the default for a tenth more bytes.
        self._stream = zlib.compressobj(1, wbits=zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))

    def pack(self, piece: bytes) -> bytes:
        return self._stream.compress(piece)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Arrow:
    def __init__(self, encoding: str) -> None:
        self._out = io.BytesIO()
        self._stream = pa.CompressedOutputStream(pa.PythonFile(self._out, "w"), _ARROW_NAMES.get(encoding, encoding))

    def pack(self, piece: bytes) -> bytes:
        self._stream.write(piece)
        return self._taken()

    def finish(self) -> bytes:
        # Closing the stream would close what it writes to.
        out, self._out.close = self._out, lambda: None  # type: ignore[method-assign]
        self._stream.close()
        return out.getvalue()

    def _taken(self) -> bytes:
        found = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return found


class _Framer:
    def pack(self, piece: bytes) -> bytes:
        return b"".join(frame(piece[at : at + _PIECE]) for at in range(0, len(piece), _PIECE))

    def finish(self) -> bytes:
        return b""


def frame(plain: bytes) -> bytes:
    """One block of ClickHouse's framing, LZ4."""
    data: bytes = pa.Codec("lz4_raw").compress(plain, asbytes=True)
    rest = _HEADER.pack(_LZ4, len(data) + _HEADER.size, len(plain)) + data
    return _checksum(rest) + rest


def _checksum(rest: bytes) -> bytes:
    return _CHECKSUM.pack(*divmod(CityHash128(rest), 1 << 64))


def _unframed(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while head := _exactly(read, _CHECKSUM.size, or_end=True):
        header = _exactly(read, _HEADER.size)
        method, size, plain = _HEADER.unpack(header)
        if not _HEADER.size <= size <= MAX_BLOCK or plain > MAX_BLOCK:
            raise _broken(f"a block of {size} bytes, {plain} unpacked, where {MAX_BLOCK} are allowed")
        data = _exactly(read, size - _HEADER.size)
        if _checksum(header + data) != head:
            raise error(40, "CHECKSUM_DOESNT_MATCH", "the body: the checksum of a block does not match its data")
        if method == _NONE:
            found = data
        elif method in _METHODS:
            try:
                found = pa.Codec(_METHODS[method]).decompress(data, plain, asbytes=True)
            except (pa.ArrowException, OSError) as problem:
                raise _broken(str(problem)) from problem
        else:
            raise error(89, "UNKNOWN_COMPRESSION_METHOD", f"the body has a block packed by method {method:#x}: LZ4, "
                        "ZSTD and none are read")  # fmt: skip
        if len(found) != plain:
            raise _broken(f"a block of {len(found)} bytes says it has {plain}")
        yield found


def _exactly(read: Callable[[int], bytes], size: int, *, or_end: bool = False) -> bytes:
    found = b""
    while len(found) < size and (more := read(size - len(found))):
        found += more
    if len(found) < size and not (or_end and not found):
        raise _broken("it ends inside of a block")
    return found


def _inflated(read: Callable[[int], bytes], encoding: str) -> Iterator[bytes]:
    wbits = zlib.MAX_WBITS | (16 if encoding == "gzip" else 0)
    stream, waiting = zlib.decompressobj(wbits), b""
    try:
        while data := waiting or read(_PIECE):
            if stream.eof:  # gzip allows members one after another
                stream = zlib.decompressobj(wbits)
            if piece := stream.decompress(data, _PIECE):
                yield piece
            waiting = stream.unconsumed_tail or stream.unused_data
    except zlib.error as problem:
        raise error(354, "ZLIB_INFLATE_FAILED", f"the body is not {encoding}: {problem}") from problem
    if not stream.eof:
        raise error(354, "ZLIB_INFLATE_FAILED", f"the body is cut: its {encoding} does not end")


def _by_arrow(read: Callable[[int], bytes], encoding: str) -> Iterator[bytes]:
    try:
        stream = pa.CompressedInputStream(pa.PythonFile(_Readable(read), "r"), _ARROW_NAMES.get(encoding, encoding))
        yield from iter(lambda: stream.read(_PIECE), b"")
    except (pa.ArrowException, OSError) as problem:
        raise _broken(f"it is not {encoding}: {problem}") from problem


class _Readable(io.RawIOBase):
    """``read`` as a file."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._read(size)


def _broken(what: str) -> Exception:
    return error(271, "CANNOT_DECOMPRESS", f"the body cannot be unpacked: {what}")
