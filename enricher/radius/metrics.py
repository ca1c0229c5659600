"""Every counter of RADIUS accounting.

Requests = records(outcome) + dropped(reason); each record is answered.  ``repeated`` is the same datagram again,
``duplicate`` another one that says the same.
"""

from prometheus_client import Counter, Gauge

from enricher.radius.packet import NOTES, REFUSALS
from enricher.radius.sessions import OUTCOMES

REQUESTS = Counter("enricher_radius_requests_total", "datagrams that came to the accounting port")
DROPPED = Counter("enricher_radius_dropped_total", "requests without an answer", ["reason"])
RECORDS = Counter("enricher_radius_records_total", "answered requests by what they said", ["outcome"])
NOTED = Counter(
    "enricher_radius_notes_total", "answered requests of which something was not used as it stood", ["note"]
)
ANSWERS = Counter("enricher_radius_answers_total", "answers sent")
COUNTER_RESETS = Counter("enricher_radius_counter_resets_total", "octet counters that began anew within a session")
FLUSHES = Counter("enricher_radius_flushes_total", "groups of requests flushed to the disk")
SESSIONS = Gauge("enricher_radius_sessions", "sessions known, ended ones of the history included")
JOURNAL_BYTES = Gauge("enricher_radius_journal_bytes", "journal since the last snapshot")
DAMAGED_BYTES = Gauge("enricher_radius_journal_damaged_bytes", "of the journal not readable at the start")
PUBLISHED = Counter(
    "enricher_radius_published_total", "records acknowledged by the topic of leases: a lease, or one removed", ["what"]
)
UNPUBLISHED = Gauge("enricher_radius_unpublished_prefixes", "prefixes whose leases changed and wait for the topic")

DROPS = (*REFUSALS, "unknown_client", "queue_full", "journal")
ANSWERED = (*OUTCOMES, "repeated")

# The closed lists are there from the start, so that a rate of zero is a zero and no gap.
for _reason in DROPS:
    DROPPED.labels(_reason)
for _outcome in ANSWERED:
    RECORDS.labels(_outcome)
for _what in ("lease", "removed"):
    PUBLISHED.labels(_what)
for _note in NOTES:
    NOTED.labels(_note)
