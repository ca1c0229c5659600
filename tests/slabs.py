"""Datagrams as a slab of the receiver holds them."""

import socket
import struct
from collections.abc import Sequence

import numpy as np

from collector.datagrams import NAME_OCTETS, Datagrams, Slots
from collector.recvmmsg import Addresses


def slab_of(sent: Sequence[tuple[str, bytes]], received_ms: int, cut: Sequence[int] = ()) -> Datagrams:
    """Exporters' addresses and payloads; ``cut``: indexes of those that were longer than they are here."""
    stride = max((len(payload) for _, payload in sent), default=0) + 64
    memory = np.full((len(sent) + 1) * stride, 0xEE, "u1")  # what was there before is no zeros
    names = np.zeros((len(sent), NAME_OCTETS), "u1")
    for index, (address, payload) in enumerate(sent):
        memory[index * stride : index * stride + len(payload)] = np.frombuffer(payload, "u1")
        name = struct.pack("=H2x4s", socket.AF_INET, socket.inet_aton(address)).ljust(NAME_OCTETS, b"\0")
        names[index] = np.frombuffer(name, "u1")
    flags = np.zeros(len(sent), bool)
    flags[list(cut)] = True
    lengths = np.array([len(payload) for _, payload in sent], "i8")
    slots = Slots(memory, stride, lengths, names, Addresses().__getitem__, flags if flags.any() else None)
    return Datagrams.of(slots, received_ms)
