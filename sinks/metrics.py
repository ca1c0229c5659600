"""Every counter of bus and store."""

from prometheus_client import Counter, Gauge, Histogram

INSERTED_ROWS = Counter("sink_inserted_rows_total", "Rows accepted by the store.", ["table"])
INSERTED_MESSAGES = Counter("sink_inserted_messages_total", "Enriched messages stored.")
SKIPPED_MESSAGES = Counter("sink_skipped_messages_total", "Enriched messages whose source was stored already.")
SLICED_ROWS = Counter("sink_sliced_rows_total", "Rows cut off because an earlier message had them.")
POISON_MESSAGES = Counter("sink_poison_messages_total", "Messages put into the dead-letter folder.")
RETRIES = Counter("sink_retries_total", "Inserts tried again because the store did not answer.")
LOST_MESSAGES = Counter("sink_lost_messages_total", "Source messages stepped over because they are gone.")
RESTARTS = Counter("sink_restarts_total", "Times the sink began again from its committed position.")
ROLLED_ROWS = Counter("sink_rolled_rows_total", "Raw rows taken into the rollups.")
LAG_MESSAGES = Gauge("sink_lag_messages", "Enriched messages not stored yet.", ["partition"])
ROLLUP_LAG_MESSAGES = Gauge("sink_rollup_lag_messages", "Stored messages not in the rollups yet.", ["partition"])
STOPPED = Gauge("sink_partition_stopped", "1: a gap stopped this partition; see flowtide doctor.", ["partition"])
NEWEST_ROW = Gauge("sink_newest_flow_end_seconds", "Latest flow end stored, Unix seconds.")
STORE_BYTES = Gauge("store_bytes", "Bytes of the tables on disk.")
DROPPED_PARTS = Counter("store_dropped_parts_total", "Oldest raw parts removed because of store.max_bytes.")
HTTP_QUERIES = Counter("http_queries_total", "Queries answered by the HTTP port.", ["user", "outcome"])
HTTP_SECONDS = Histogram("http_query_seconds", "Time from a request's first byte to its answer, waiting included.")
