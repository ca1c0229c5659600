"""Every counter of the console."""

from prometheus_client import Counter, Gauge, Histogram

ASKED = Counter("console_questions_total", "Questions to the store.", ["kind", "outcome"])
SECONDS = Histogram("console_question_seconds", "Time from a question to its answer, waiting for a turn included.")
SHARED = Counter("console_answers_total", "Answers given, by where they came from.", ["source"])
KEPT_BYTES = Gauge("console_kept_bytes", "Bytes of answers kept for others.")
REFUSED = Counter("console_refused_total", "Requests refused before any question.", ["reason"])
FAILED_LOGINS = Counter("console_failed_logins_total", "Wrong user names or passwords.")
