"""Why something was not decoded, and every counter of the decoder: closed lists, so that labels stay bounded."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a datagram, set, template or held set was dropped."""

    SHORT_HEADER = "short_header"  # shorter than its version's header
    UNKNOWN_VERSION = "unknown_version"
    UNSUPPORTED_VERSION = "unsupported_version"  # sFlow, which is not read yet
    BAD_MESSAGE_LENGTH = "bad_message_length"  # IPFIX message shorter than its own header
    NO_SOUND_SET = "no_sound_set"  # every set of the datagram was dropped
    BAD_SET_LENGTH = "bad_set_length"  # shorter than its header or beyond its message
    RESERVED_SET_ID = "reserved_set_id"
    BEYOND_COUNT = "beyond_count"  # after as many v9 sets as the header counts records
    SHORT_SET = "short_set"  # not one whole record
    ZERO_RECORD = "zero_record"  # the template's records have no bytes: endless many
    NO_RECORD = "no_record"  # NetFlow v5 without one whole record
    HELD_FULL = "held_full"  # no room to wait for its template
    NO_SOUND_TEMPLATE = "no_sound_template"  # every template of the set was dropped
    TEMPLATE_ID = "template_id"  # under 256
    TEMPLATE_CUT = "template_cut"  # more fields announced than the set has room for
    TEMPLATE_EMPTY = "template_empty"  # without fields, where that is not a withdrawal
    BAD_SCOPE = "bad_scope"  # options template without scope, or with more than it has fields
    EXPIRED = "expired"  # held until it was too old
    EVICTED = "evicted"  # held for a domain that was forgotten


_DATAGRAM = (
    Reason.SHORT_HEADER, Reason.UNKNOWN_VERSION, Reason.UNSUPPORTED_VERSION, Reason.BAD_MESSAGE_LENGTH,
    Reason.NO_SOUND_SET, Reason.NO_RECORD,
)  # fmt: skip
_DATA = (Reason.SHORT_SET, Reason.ZERO_RECORD)
_SET = (
    Reason.BAD_SET_LENGTH, Reason.RESERVED_SET_ID, Reason.BEYOND_COUNT, *_DATA, Reason.HELD_FULL,
    Reason.NO_SOUND_TEMPLATE,
)  # fmt: skip
_TEMPLATE = (Reason.TEMPLATE_ID, Reason.TEMPLATE_CUT, Reason.TEMPLATE_EMPTY, Reason.BAD_SCOPE)
_HELD = (*_DATA, Reason.EXPIRED, Reason.EVICTED)

COUNTERS: tuple[str, ...] = (
    # datagrams = decoded + held + dropped by reason; held: nothing but sets that wait.
    "datagrams", "datagrams_decoded", "datagrams_held", *(f"datagrams_dropped_{reason}" for reason in _DATAGRAM),
    # sets = decoded + held + dropped by reason
    "sets", "sets_decoded", "sets_held", *(f"sets_dropped_{reason}" for reason in _SET),
    # sets_held = held_decoded + held_dropped by reason + waiting now
    "held_decoded", *(f"held_dropped_{reason}" for reason in _HELD),
    # templates = accepted + withdrawn + dropped by reason
    "templates", "templates_accepted", "templates_withdrawn", *(f"templates_dropped_{reason}" for reason in _TEMPLATE),
    # rows taken = flow records + reverse halves; the others are flagged rows among them
    "records_flow", "records_options",
    "rows", "rows_reverse", "rows_no_flow_time", "rows_time_out_of_bounds", "rows_long_duration", "rows_implausible",
    "rows_sampling_unknown",
    # what happened beside
    "templates_evicted", "domains_evicted", "fields_ignored", "length_mismatch", "sampling_changed",
    # sets whose last record is cut off, or which hold octets behind it that are no padding
    "sets_cut",
)  # fmt: skip
"""The closed list of counter names."""


@dataclass(frozen=True, slots=True)
class Count:
    """How much one counter grew since it was last taken."""

    exporter: str
    domain: int
    counter: str
    value: int


class StateError(ValueError):
    """A saved state that cannot be restored; says why.  The decoder is as it was: begin without state."""
