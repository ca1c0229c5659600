"""A flow of the simulated network, before any exporter has seen it and as one exports it: the same columns."""

import numpy as np

FLOW = np.dtype(
    [
        ("user", "i4"), ("kind", "u1"), ("direction", "u1"), ("is_v6", "?"), ("src", "u1", 16), ("dst", "u1", 16),
        ("src_port", "u2"), ("dst_port", "u2"), ("proto", "u1"), ("tcp_flags", "u1"), ("tos", "u1"), ("packets", "i8"),
        ("octets", "i8"), ("in_if", "u4"), ("out_if", "u4"), ("src_as", "u4"), ("dst_as", "u4"), ("start_ms", "i8"),
        ("end_ms", "i8"),
    ]
)  # fmt: skip
"""``user``: index into the population, -1 when neither end is one; ``direction`` 1 from the user, 2 to it, 0 neither.

``kind``: index into ``kinds.KINDS``.  Addresses in 16 octets, IPv4 as ::ffff:a.b.c.d.  Times are Unix milliseconds of
the simulated clock, ``octets`` of IP as every export counts them.
"""
