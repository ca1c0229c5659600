"""Every counter of the alerts' evaluator."""

from prometheus_client import Counter, Gauge, Histogram

EVALUATIONS = Counter("alerts_evaluations_total", "Rules evaluated, by what came of it.", ["outcome"])
SKIPPED = Counter("alerts_evaluations_skipped_total", "Evaluations of groups left out because the last took too long.")
SECONDS = Histogram("alerts_evaluation_seconds", "Time of one rule's evaluation.")
INSTANCES = Gauge("alerts_instances", "Instances of rules, by state and severity.", ["state", "severity"])
EVENTS = Counter("alerts_events_total", "Changes of state.", ["kind"])
WAITING = Gauge("alerts_history_waiting", "Events that the store does not have yet.")
DROPPED = Counter("alerts_history_dropped_total", "Events that waited too long for the store, the oldest first.")
EVALUATED = Gauge("alerts_last_evaluation_seconds", "When a group was last evaluated, Unix seconds.")
