"""Every counter of notifications.

Attempts = told + later + refused; of the messages some are given up in the end.
"""

from prometheus_client import Counter, Gauge

ATTEMPTS = Counter(
    "alerts_webhook_attempts_total", "POSTs to a webhook by what became of them.", ["webhook", "outcome"]
)
GIVEN_UP = Counter("alerts_webhook_given_up_total", "Messages that were not sent in the end.", ["webhook"])
OVERFLOW = Counter("alerts_webhook_overflow_total", "Alerts not taken because too many fire already.", ["webhook"])
WAITING = Gauge("alerts_webhook_waiting", "Messages made and not taken by the receiver yet.", ["webhook"])
