"""Why something was not decoded, and every counter of the decoder: closed lists, so that labels stay bounded."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a datagram, set, template or held set was dropped."""

    SHORT_HEADER = "short_header"  # shorter than its version's header
    UNKNOWN_VERSION = "unknown_version"
    BAD_MESSAGE_LENGTH = "bad_message_length"  # IPFIX message shorter than its own header
    DENIED = "denied"  # by the operator's list
    UNKNOWN_EXPORTER = "unknown_exporter"  # on no list, and the operator admits listed ones only
    RATE_LIMIT = "rate_limit"  # more datagrams a second than one exporter may send
    NO_SOUND_SET = "no_sound_set"  # every set of the datagram was dropped
    BAD_AGENT = "bad_agent"  # sFlow agent address of no known type, so nothing behind it has a known place
    NO_SOUND_SAMPLE = "no_sound_sample"  # every sFlow sample of the datagram was dropped
    BAD_SET_LENGTH = "bad_set_length"  # shorter than its header or beyond its message
    RESERVED_SET_ID = "reserved_set_id"
    BEYOND_COUNT = "beyond_count"  # sFlow samples or records after as many as were announced
    SHORT_SET = "short_set"  # not one whole record
    ZERO_RECORD = "zero_record"  # the template's records have no bytes: endless many
    NO_RECORD = "no_record"  # NetFlow v5 without one whole record
    BAD_SAMPLE_LENGTH = "bad_sample_length"  # sFlow sample beyond its datagram, or announced and not there
    SHORT_SAMPLE = "short_sample"  # shorter than its own header
    NO_PACKET = "no_packet"  # flow sample without a sound record of the packet
    BAD_RECORD_LENGTH = "bad_record_length"  # record of a sample beyond it, or header beyond its record
    SHORT_RECORD = "short_record"  # shorter than such records are
    HELD_FULL = "held_full"  # no room to wait for its template
    NO_SOUND_TEMPLATE = "no_sound_template"  # every template of the set was dropped
    TEMPLATE_ID = "template_id"  # under 256
    TEMPLATE_CUT = "template_cut"  # more fields announced than the set has room for
    TEMPLATE_EMPTY = "template_empty"  # without fields, where that is not a withdrawal
    BAD_SCOPE = "bad_scope"  # options template without scope, or with more than it has fields
    EXPIRED = "expired"  # held until it was too old
    EVICTED = "evicted"  # held for a domain that was forgotten


_DATAGRAM = (
    Reason.SHORT_HEADER, Reason.UNKNOWN_VERSION, Reason.BAD_MESSAGE_LENGTH, Reason.NO_SOUND_SET, Reason.NO_RECORD,
    Reason.BAD_AGENT, Reason.NO_SOUND_SAMPLE,
    Reason.DENIED, Reason.UNKNOWN_EXPORTER, Reason.RATE_LIMIT,
)  # fmt: skip
_DATA = (Reason.SHORT_SET, Reason.ZERO_RECORD)
_SET = (
    Reason.BAD_SET_LENGTH, Reason.RESERVED_SET_ID, *_DATA, Reason.HELD_FULL,
    Reason.NO_SOUND_TEMPLATE,
)  # fmt: skip
_TEMPLATE = (Reason.TEMPLATE_ID, Reason.TEMPLATE_CUT, Reason.TEMPLATE_EMPTY, Reason.BAD_SCOPE)
_SAMPLE = (Reason.BAD_SAMPLE_LENGTH, Reason.SHORT_SAMPLE, Reason.NO_PACKET, Reason.BEYOND_COUNT)
_SAMPLE_RECORD = (Reason.BAD_RECORD_LENGTH, Reason.SHORT_RECORD, Reason.BEYOND_COUNT)
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
    # sFlow: samples = flow + counter + discarded packet + skipped (of other kinds) + dropped by reason
    "samples", "samples_flow", "samples_counter", "samples_discarded_packet", "samples_skipped",
    *(f"samples_dropped_{reason}" for reason in _SAMPLE),
    # sample_records = read + skipped (of other kinds) + dropped by reason
    "sample_records", "sample_records_read", "sample_records_skipped",
    *(f"sample_records_dropped_{reason}" for reason in _SAMPLE_RECORD),
    # rows taken and held = flow records + reverse halves; the others are flagged rows among them
    "records_flow", "records_options",
    "rows", "rows_reverse", "rows_no_flow_time", "rows_time_out_of_bounds", "rows_long_duration", "rows_implausible",
    "rows_sampling_unknown", "rows_unsound_packet",
    # rows_held = told + given up + waiting now, among rows; rows_sampling_unknown are counted when they are given out
    "rows_held", "rows_held_told", "rows_held_given_up",
    # what happened beside
    "templates_evicted", "domains_evicted", "fields_ignored", "length_mismatch", "sampling_changed",
    # by sequence numbers, of flows (v5), records (IPFIX) or messages; and export time against arrival
    "sequence_missed", "sequence_out_of_order", "sequence_duplicate", "sequence_reset",
    "clock_skew_ms", "clock_skew_messages",
    # what the exporting process says it sent (IE 40-42), and how many of these messages did not come
    "told_octets", "told_messages", "told_records", "told_messages_missed",
    # observations and names beyond their bounds
    "observations_dropped", "names_refused",
    "sampler_drops",  # sFlow samples that the exporter itself could not send, as it says
    # rows whose chosen elements found the batch's column "extra" full; of all exporters
    "rows_extra_refused",
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
