"""A stand-in for the evaluator of alert rules: it says what a test puts into ``report``."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def ago(**span: float) -> str:
    """A time so long before now, as the evaluator writes it."""
    return (datetime.now(UTC) - timedelta(**span)).isoformat(timespec="seconds").replace("+00:00", "Z")


def instance(state: str = "firing", since: str = "", **labels: str) -> dict[str, Any]:
    """One instance of a rule."""
    return {
        "labels": labels, "state": state, "since": since or ago(minutes=20), "values": {"A": 1.0, "Q": 0.3123456},
        "annotations": {"summary": f"{labels.get('service', 'all')}: QUIC share rose", "description": "UDP 443 x1.32"},
        "missing": 0,
    }  # fmt: skip


def rule(
    uid: str, name: str, severity: str, *instances: dict[str, Any], state: str = "", **more: Any
) -> dict[str, Any]:
    """One rule of a report."""
    return {
        "uid": uid, "rule": name, "title": f"{name} of {uid}", "severity": severity,
        "state": state or (instances[0]["state"] if instances else "normal"), "since": ago(minutes=20),
        "last_evaluation": ago(seconds=30), "error": "", "labels": {"severity": severity},
        "annotations": {"runbook_url": f"dashboards/README.md#{name.lower()}", "__dashboardUid__": "noc",
                        "__panelId__": "10"},
        "instances": list(instances), **more,
    }  # fmt: skip


class FakeEvaluator:
    """Answers GET /api/alerts; ``status`` other than 200, or ``raw``, for one that is ill."""

    def __init__(self) -> None:
        self.report: dict[str, Any] = {"evaluated_at": ago(seconds=20), "problem": "", "rules": [], "silences": []}
        self.status, self.raw, self.asked = 200, b"", 0
        evaluator = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                evaluator.asked += 1
                body = evaluator.raw or json.dumps(evaluator.report).encode()
                self.send_response(evaluator.status if self.path == "/api/alerts" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Not news."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
