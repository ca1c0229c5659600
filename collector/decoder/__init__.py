"""Datagrams -> batches: NetFlow v5, v9 and IPFIX, the latter by the templates they announce.

``add`` walks headers and sets (``netflow5``, ``netflow9``, ``ipfix``, ``sets``) and collects the octets of flow
records by layout (``layouts``); ``take`` turns them into columns (``records``, ``varying``, ``times``, ``sampling``).
Between batches it remembers templates and options data by observation domain (``domains``, ``templates``,
``options``), data sets that wait for their template (``held``), and counters (``errors``); ``state`` saves what a
restart must not lose.  Bytes in, values out: no I/O, no clock, no log.
"""

from collector.decoder.decoder import Decoder
from collector.decoder.errors import COUNTERS, Count, Reason, StateError

__all__ = ["COUNTERS", "Count", "Decoder", "Reason", "StateError"]
