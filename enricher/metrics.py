"""Every counter of this part.

Read flows = matched + unmatched; published rows = read flows + those with a subscriber at both ends.
"""

from prometheus_client import Counter, Gauge

from enricher.enrichment import Enriched

FLOWS = Counter(
    "enricher_flows_total",
    "flow records by what the leases say; both and ambiguous are parts of matched",
    ["attribution"],
)
OCTETS = Counter("enricher_octets_est_total", "their estimated octets", ["attribution"])
ENRICHED_ROWS = Counter("enricher_enriched_rows_total", "rows published to flows.enriched")
HISTORY_ROWS = Counter("enricher_history_rows_total", "rows of history published, in no other counter of this part")
RESTARTS = Counter("enricher_restarts_total", "times the loop failed and began again from the tail")
GENERATIONS = Counter("enricher_generations_lost_total", "times the partitions were given out anew")
LOST_MESSAGES = Counter("enricher_lost_messages_total", "raw messages that were gone before they were read")
MISSING_MESSAGES = Counter("enricher_missing_messages_total", "gaps in the collectors' sequence numbers")
REPEATED_MESSAGES = Counter("enricher_repeated_messages_total", "raw messages published twice and dropped here")
POISON_MESSAGES = Counter("enricher_poison_messages_total", "raw messages that are none of ours, stepped over")

LEASES = Gauge("enricher_leases", "leases in force")
LEASE_OVERLAPS = Gauge("enricher_lease_overlaps", "leases that a newer one of the same prefix cut short")
LEASE_AMBIGUITIES = Gauge("enricher_lease_ambiguities", "leases of one prefix and begin with several subscribers")
LEASE_TABLE_BYTES = Gauge("enricher_lease_table_bytes", "memory of the lease table")
LEASE_FILE_OK = Gauge("enricher_lease_file_ok", "0: the newest lease file is refused, an older table is in force")
LEASE_LOADS = Counter("enricher_lease_loads_total", "lease files read", ["result"])
SOURCE_LEASES = Gauge("enricher_lease_source_leases", "leases in force of each source", ["source"])
SOURCE_AGE = Gauge("enricher_lease_source_age_seconds", "since the source last gave leases; -1: never", ["source"])
SOURCE_OK = Gauge("enricher_lease_source_ok", "0: the source's newest state is refused or it is stale", ["source"])
SOURCE_REFUSED = Counter("enricher_lease_source_refused_total", "files refused whole", ["source", "reason"])
LEASE_LINES_SKIPPED = Counter(
    "enricher_lease_lines_skipped_total", "lines of Kea's lease files passed over", ["source", "reason"]
)
LATE_OCTETS = Counter(
    "enricher_late_lease_octets_est_total",
    "octets, by a sample of recent flows, stored with another subscriber than leases heard of since then give them",
)
LEASE_RECORDS = Counter("enricher_lease_records_total", "records read from topics of leases", ["source"])
LEASE_RECORDS_SKIPPED = Counter(
    "enricher_lease_records_skipped_total", "and those passed over: the lease of their key stays", ["source", "reason"]
)
TABLE_SECONDS = Gauge("enricher_lease_table_seconds", "what the newest lease table took to build")

# The closed list of attributions is there from the start, so that a rate of zero is a zero and no gap.
for _attribution in ("matched", "both", "unmatched", "ambiguous"):
    FLOWS.labels(_attribution)
    OCTETS.labels(_attribution)
for _result in ("loaded", "refused"):
    LEASE_LOADS.labels(_result)


def count(result: Enriched) -> None:
    """Add one batch's coverage."""
    coverage = result.coverage
    for attribution, part in (
        ("matched", coverage.matched),
        ("both", coverage.both),
        ("unmatched", coverage.unmatched),
        ("ambiguous", coverage.ambiguous),
    ):
        FLOWS.labels(attribution).inc(part.flows)
        OCTETS.labels(attribution).inc(part.octets_est)
