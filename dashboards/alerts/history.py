"""Changes of state as rows of ``alert_history``, each inserted once."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pyarrow as pa
import structlog

from dashboards.alerts import metrics
from dashboards.alerts.states import Event
from sinks import Store, StoreRefused, StoreUnavailable
from sinks.telemetry import limited

log = structlog.get_logger("alerts")

TABLE = "alert_history"
MOST_WAITING = 10_000
"""Events that wait for a store; the oldest go first."""

_MAP = pa.map_(pa.string(), pa.string())
_SCHEMA = pa.schema(
    [("time", pa.timestamp("ms", "UTC")), ("uid", pa.string()), ("rule", pa.string()), ("title", pa.string()),
     ("severity", pa.string()), ("state", pa.string()), ("labels", _MAP),
     ("values", pa.map_(pa.string(), pa.float64())), ("summary", pa.string()), ("reason", pa.string()),
     ("started", pa.timestamp("ms", "UTC"))]
)  # fmt: skip

OpenStore = Callable[[], AbstractContextManager[Store]]
"""A store that may be written to; StoreUnavailable, StoreRefused."""


def row_of(event: Event) -> pa.Table:
    """One event as a row."""
    instance, at = event.instance, round(event.at * 1000)
    values = (
        at, instance.uid, instance.rule, instance.title, instance.severity, event.kind,
        list(instance.labels.items()), list(instance.values.items()), instance.annotations.get("summary", ""),
        event.reason or instance.reason, round(instance.started * 1000) or at,
    )  # fmt: skip
    return pa.Table.from_pylist([dict(zip(_SCHEMA.names, values, strict=True))], _SCHEMA)


class History:
    """Writes events; what the store does not take now is left for later."""

    def __init__(self, open_store: OpenStore) -> None:
        self._open = open_store
        self.failed = ""
        """Why events wait; for /healthz."""

    def write(self, events: Sequence[Event]) -> list[Event]:
        """Insert each under a token of its own; those that are left.  The same event again changes nothing."""
        if not events:
            return []
        left: list[Event] = []
        failed = ""
        try:
            with self._open() as store:
                for number, event in enumerate(events):
                    try:
                        store.insert(TABLE, row_of(event), token=f"alert/{event.id}")
                    except StoreUnavailable:
                        left += events[number:]
                        raise
                    except StoreRefused as error:  # the table is not there yet, say; others may be taken
                        failed = str(error)
                        left.append(event)
        except (StoreUnavailable, StoreRefused) as error:
            failed, left = str(error), left or list(events)
        if failed:
            limited(log.warning, "history", "changes of alerts wait for the store", waiting=len(left), reason=failed)
        self.failed = failed
        return bounded(left)


def bounded(events: Sequence[Event]) -> list[Event]:
    """The newest of those that wait."""
    if len(events) > MOST_WAITING:
        metrics.DROPPED.inc(len(events) - MOST_WAITING)
    return list(events[-MOST_WAITING:])
