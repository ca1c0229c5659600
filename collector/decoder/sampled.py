"""The records of an sFlow flow sample (sFlow Version 5, section 5.3): what they say of the packet and its way."""

from struct import Struct

from collector.decoder.errors import Reason
from collector.decoder.samples import SLOTS

_PACKET = Struct("!IIII")  # header protocol, length of the frame, octets stripped, octets of the header
_ETHERNET = Struct("!I20x")  # length of the frame; addresses and type are not ours
_IPV4 = Struct("!II4s4sIIII")  # length, protocol, addresses, ports, TCP flags, type of service
_IPV6 = Struct("!II16s16sIIII")
_SWITCH = Struct("!I12x")  # VLAN in; the VLAN out and priorities are not ours
_WORD = Struct("!I")
_PAIR = Struct("!II")
_ADDRESS = {1: 4, 2: 16}
_NONE = bytes(16)
_NO_FLOW: tuple[int, bytes, bytes, int, int, int, int, int] = (0, _NONE, _NONE, 0, 0, 0, 0, 0)
"""IP version, addresses, protocol, ports, TCP flags, type of service."""
_MAPPED = b"\0" * 10 + b"\xff\xff"
VLANS = 4_094  # beyond: not known
_KEPT = SLOTS[-1]


class Sampled:
    """Gathers what the records of one sample say.

    Of two records of a kind the first counts, of two of a router or a gateway the last.
    """

    __slots__ = (
        "_as", "_bgp_hop", "_flow", "_hop", "_length", "_masks", "_protocol", "_vlan", "header",
    )  # fmt: skip

    def __init__(self) -> None:
        self.header = b""
        self._protocol = 0
        self._length: dict[int, int] = {}  # of the packet, by kind of record
        self._flow = _NO_FLOW
        self._vlan = 0
        self._hop = self._bgp_hop = _NONE
        self._masks = (0, 0)
        self._as = (0, 0)

    def learn(self, number: int, payload: memoryview, at: int, length: int) -> bool | Reason:
        """Read the record at ``at``, which has ``length`` octets there; False: of a kind that we do not read."""
        least = LEAST.get(number)
        if least is None:
            return False
        if length < least:
            return Reason.SHORT_RECORD
        if number == 1:
            return self._read_header(payload, at, length)
        if number == 1001:
            (vlan,) = _SWITCH.unpack_from(payload, at)
            self._vlan = self._vlan or (vlan if vlan <= VLANS else 0)
        elif number == 1002:
            return self._read_router(payload, at, length)
        elif number == 1003:
            return self._read_gateway(payload, at, length)
        elif number == 2:
            self._measured(2, _ETHERNET.unpack_from(payload, at)[0])
        else:
            self._read_flow(number, payload, at)
        return True

    def entry(self, form: Struct, interval: int, in_if: int, out_if: int) -> bytes:
        """All of it, as one of ``samples.ENTRIES``."""
        version, src, dst, proto, src_port, dst_port, flags, tos = self._flow
        length = self._length
        octets = length[1] if 1 in length else next(length[kind] for kind in (2, 3, 4) if kind in length)
        hop = self._bgp_hop if self._hop == _NONE else self._hop
        return form.pack(
            interval, octets, in_if, out_if, *self._as, hop, src, dst, src_port, dst_port, flags, self._vlan, version,
            proto, tos, *self._masks, self._protocol, len(self.header), self.header,
        )  # fmt: skip

    @property
    def has_packet(self) -> bool:
        """Whether a record told the packet's length."""
        return bool(self._length)

    def _measured(self, kind: int, octets: int) -> None:
        self._length.setdefault(kind, octets)

    def _read_header(self, payload: memoryview, at: int, length: int) -> bool | Reason:
        protocol, octets, _, captured = _PACKET.unpack_from(payload, at)
        if not 0 < captured <= length - _PACKET.size:
            return Reason.BAD_RECORD_LENGTH
        if not self.header:
            start = at + _PACKET.size
            self.header = bytes(payload[start : start + min(captured, _KEPT)])
            self._protocol = protocol if protocol < 256 else 0
            self._measured(1, octets)
        return True

    def _read_flow(self, number: int, payload: memoryview, at: int) -> None:
        form = _IPV4 if number == 3 else _IPV6
        octets, proto, src, dst, src_port, dst_port, flags, tos = form.unpack_from(payload, at)
        if self._flow is _NO_FLOW:
            if number == 3:
                src, dst = _MAPPED + src, _MAPPED + dst
            # 8 and 16 bits in words of 32: the upper ones have no meaning.
            self._flow = (
                4 if number == 3 else 6, src, dst, proto & 255, src_port & 0xFFFF, dst_port & 0xFFFF, flags & 0xFFF,
                tos & 255,
            )  # fmt: skip
        self._measured(number, octets)

    def _read_router(self, payload: memoryview, at: int, length: int) -> bool | Reason:
        hop, used = _address(payload, at, length)
        if hop is None or length - used < _PAIR.size:
            return Reason.SHORT_RECORD
        src_mask, dst_mask = _PAIR.unpack_from(payload, at + used)
        self._hop = hop
        self._masks = (src_mask if src_mask <= 128 else 0), (dst_mask if dst_mask <= 128 else 0)
        return True

    def _read_gateway(self, payload: memoryview, at: int, length: int) -> bool | Reason:
        """Next hop, AS of the router, of the source and its neighbour, path to the destination as segments."""
        hop, used = _address(payload, at, length)
        if hop is None or length - used < 16:
            return Reason.SHORT_RECORD
        stop = at + length
        (src_as,) = _WORD.unpack_from(payload, at + used + 4)
        (segments,) = _WORD.unpack_from(payload, at + used + 12)
        at += used + 16
        last = 0
        for _ in range(segments):  # each takes 8 octets at least, so the record's length bounds this
            if stop - at < _PAIR.size:
                return Reason.SHORT_RECORD
            _, count = _PAIR.unpack_from(payload, at)
            at += _PAIR.size
            if count > (stop - at) // 4:
                return Reason.SHORT_RECORD
            at += 4 * count
            if count:
                (last,) = _WORD.unpack_from(payload, at - 4)
        # Communities and local preference follow; a path without AS stays within this one, which is 0 as in NetFlow.
        self._bgp_hop, self._as = hop, (src_as, last)
        return True


LEAST = {
    1: _PACKET.size, 2: _ETHERNET.size, 3: _IPV4.size, 4: _IPV6.size, 1001: _SWITCH.size, 1002: 4 + _PAIR.size,
    1003: 4 + 16,
}  # fmt: skip
"""Octets that a record of each kind has at least; kinds are those of enterprise 0."""


def _address(payload: memoryview, at: int, length: int) -> tuple[bytes | None, int]:
    """An address of 16 octets and the octets it took; zeros for one that is not told, None for one that is cut."""
    (kind,) = _WORD.unpack_from(payload, at)
    if kind == 0:
        return _NONE, 4
    size = _ADDRESS.get(kind)
    if size is None or length < 4 + size:
        return None, 0
    octets = bytes(payload[at + 4 : at + 4 + size])
    return (octets if size == 16 else _MAPPED + octets if any(octets) else _NONE), 4 + size
