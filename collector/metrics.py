"""Every counter of the collector."""

from prometheus_client import Counter, Gauge

DATAGRAMS = Counter("collector_datagrams_total", "Datagrams read from the sockets.")
OCTETS = Counter("collector_datagram_octets_total", "Octets of UDP payload read.")
TRUNCATED = Counter("collector_truncated_datagrams_total", "Datagrams longer than their slot; the sound part is kept.")
KERNEL_DROPS = Counter("collector_kernel_drops_total", "Datagrams the kernel dropped: buffer full.", ["socket"])
RECEIVER_DROPS = Counter("collector_receiver_drops_total", "Datagrams dropped by us: receiver queue full.")
STALLS = Counter("collector_receiver_stalls_total", "Times that reading stopped because no slab was free.")
EXPORTER = Counter(
    "collector_exporter_total",
    "What the decoder counted, by exporter and closed counter name.",
    ["exporter", "counter"],
)
PUBLISHED_ROWS = Counter("collector_published_rows_total", "Rows accepted by the bus.")
DROPPED_ROWS = Counter("collector_dropped_rows_total", "Decoded rows dropped, by reason.", ["reason"])
RESTARTS = Counter("collector_restarts_total", "Times that an unforeseen error ended a group.")
TEMPLATES = Gauge("collector_templates", "Templates known.")
HELD_BYTES = Gauge("collector_held_bytes", "Data sets that wait for their template.")
HELD_ROWS = Gauge("collector_held_rows", "Rows that wait for the interval of the sampler they name.")
TEMPLATE_AGE = Gauge("collector_template_age_seconds", "Since the template in use that was announced longest ago.")
SHIPPED_MESSAGES = Counter("shipper_acknowledged_messages_total", "Messages of the outbox that Kafka has for good.")
SHIPPED_OCTETS = Counter("shipper_acknowledged_bytes_total", "Their bodies.")
SHIP_RESTARTS = Counter("shipper_restarts_total", "Times that sending began again from the first unacknowledged one.")
SHIP_LOST = Counter("shipper_lost_messages_total", "Messages gone from the outbox before they were sent: damage.")
SHIP_REFUSED = Counter("shipper_refused_messages_total", "Messages that Kafka never takes, stepped over.")
OUTBOX_MESSAGES = Gauge("shipper_outbox_messages", "Messages not acknowledged by Kafka.", ["partition"])
OUTBOX_OCTETS = Gauge("shipper_outbox_bytes", "Disk the outbox takes, with what waits to be trimmed.", ["partition"])
OUTBOX_AGE = Gauge("shipper_outbox_age_seconds", "Since the newest flow of the oldest message not acknowledged ended.")
INTERFACES_OK = Gauge("collector_interfaces_ok", "1: the table of interfaces is in force, 0: refused.")
