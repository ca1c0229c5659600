"""The process that evaluates alert rules: over a store that runs, alone or as a child of a stack."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from collector.sockets import BindError, parse_address
from flowtide.beside import Beside
from flowtide.children import Fork
from flowtide.parts import admin_token_file, is_embedded
from flowtide.roles import Ready
from flowtide.settings import Settings, SettingsError, with_setting
from sinks import Store, StoreUnavailable
from sinks.listening import next_free
from sinks.ownership import Ownership
from sinks.telemetry import TelemetryServer

if TYPE_CHECKING:
    from dashboards.alerts.asking import StoreAsk
    from dashboards.alerts.notify import Notifier
    from dashboards.alerts.rulefile import RuleSet
    from dashboards.alerts.service import Evaluator

log = structlog.get_logger("alerts")

ROLE = "alerts"
_LOOK_SECONDS = 0.5
_NOTIFY_SECONDS = 1.0
_WRITE_SECONDS = 10.0  # of a change of state into the history; the next evaluation waits for it
_PATIENCE_SECONDS = 15.0  # a store that is started again is not an error of every rule


def wanted(settings: Settings) -> bool:
    """Whether a stack of these settings evaluates the rules: a server's are Grafana's, unless the settings say so."""
    chosen = settings.alerts.enabled
    return is_embedded(settings) if chosen == "auto" else chosen


def rules_in_force(settings: Settings) -> "RuleSet":
    """Ours and those of the operator's files; SettingsError."""
    from dashboards.alerts.build import FILE
    from dashboards.alerts.rulefile import RuleFileError, load_rules

    try:
        return load_rules(FILE, *settings.alerts.files)
    except RuleFileError as error:
        raise SettingsError(f"alerts.files: {error}" if settings.alerts.files else str(error)) from None


def asker(
    settings: Settings, url: str, wait: Callable[[float], object] = time.sleep, patience: float = 0
) -> "StoreAsk":
    """Who asks the store there, as the account of the settings; SettingsError."""
    from dashboards.alerts.asking import StoreAsk
    from dashboards.asked import Target

    chosen, console = settings.alerts, settings.console
    secret = chosen.store_password if chosen.store_user else console.store_password
    try:
        return StoreAsk(
            Target(
                url.rstrip("/"), chosen.store_user or console.store_user, secret.get_secret_value(),
                settings.store.database, ca_file=settings.store.ca_file,
            ),
            max_seconds=chosen.query_seconds, patience_seconds=patience, wait=wait,
        )  # fmt: skip
    except ValueError as error:
        raise SettingsError(f"alerts.store_url: {error}") from None
    except OSError as error:
        raise SettingsError(f"store.ca_file {settings.store.ca_file!r}: {error}") from None


def run_alerts(settings: Settings, stop: threading.Event, ready: Ready) -> None:
    """Evaluate until ``stop``, over the store at ``alerts.store_url``.

    BindError, SettingsError; AlreadyOwned when another process of this data directory evaluates.
    """
    from dashboards.alerts.history import History
    from dashboards.alerts.memory import NAME
    from dashboards.alerts.notify import Notifier
    from dashboards.alerts.service import Evaluator

    chosen, folder = settings.alerts, settings.data / "state"
    with ExitStack() as closing:
        owner = Ownership(settings.data, ROLE)
        closing.callback(owner.close)
        folder.mkdir(parents=True, exist_ok=True)
        rules = rules_in_force(settings)
        ask = asker(settings, chosen.store_url, stop.wait, _PATIENCE_SECONDS)
        notifier = Notifier(chosen.webhooks, folder, external_url=chosen.external_url, stopping=stop.is_set)
        evaluator = Evaluator(
            rules, ask, folder / NAME, notifier=notifier, history=History(lambda: _store_to_write(settings)),
            stopping=stop.is_set,
        )  # fmt: skip
        port = _serve(settings, evaluator, notifier)
        closing.callback(port.close)
        sender = threading.Thread(target=_notify, args=(notifier, stop), name="notify", daemon=True)
        sender.start()
        ready({"alerts": list(port.address)})
        log.info("alert rules", rules=len(rules.rules), webhooks=len(chosen.webhooks), store=chosen.store_url)
        while not stop.wait(_LOOK_SECONDS):
            evaluator.tend(time.time())
        # What waits is on the disk; a message on its way is not cut off.
        sender.join(max((each.timeout_seconds for each in chosen.webhooks), default=0.0) + 1.0)


def silences_of(folder: Path, now: float) -> list[dict[str, object]]:
    """Silences in force or to come, of a data directory's state."""
    from dashboards.alerts.silences import NAME, Silences

    return Silences(folder / NAME).as_json(now)


def _serve(settings: Settings, evaluator: "Evaluator", notifier: "Notifier") -> Any:
    from dashboards.alerts.report import report

    began = time.time()

    def health() -> Mapping[str, object]:
        late = evaluator.late(time.time()) if time.time() - began > _PATIENCE_SECONDS else ""
        facts = {"store": evaluator.silent, "state": evaluator.untakable, "evaluation": late,
                 "history": evaluator.unwritable, "notifications": notifier.problems()}  # fmt: skip
        wrong = {name: why for name, why in facts.items() if why}
        return {"ok": not wrong, **wrong}

    def told() -> Mapping[str, Any]:
        problems = [evaluator.silent, evaluator.untakable, *notifier.problems()]
        found = report(
            evaluator.rules, evaluator.memory, notifier.silences.as_json(time.time()), "; ".join(filter(None, problems))
        )
        return {**found, "webhooks": notifier.as_json()}

    listen = settings.alerts.listen
    host, number = parse_address(listen)
    try:
        return next_free(number, lambda tried: TelemetryServer(host, tried, health, {"/api/alerts": told}))
    except OSError as error:
        raise BindError(f"alerts.listen {listen!r}: {error.strerror or error}; choose another") from error


def _notify(notifier: "Notifier", stop: threading.Event) -> None:
    while not stop.wait(_NOTIFY_SECONDS):
        try:
            notifier.tend(time.time())
        except Exception:
            # One message must not end all others; the evaluator goes on and says so.
            log.exception("a notification failed")


class AlertsProcess(Beside):
    """The evaluator of a stack."""

    def __init__(self, fork: Fork | None = None) -> None:
        super().__init__(ROLE, fork)

    def start(self, settings: Settings, store_url: str, meanwhile: Callable[[], object] = lambda: None) -> str:
        """Start it over this store and wait until it answers; its URL, empty when there is none or it cannot start."""
        if not wanted(settings) or not store_url:
            return ""
        if not settings.alerts.store_url:
            settings = with_setting(settings, "alerts", "store_url", settings.console.store_url or store_url)
        return self.begin(settings, meanwhile)


@contextmanager
def _store_to_write(settings: Settings) -> Iterator[Store]:
    """For the history: the engine of a stack as its admin, or the server; StoreUnavailable, StoreRefused."""
    from sinks.clickhouse import ClickHouseStore  # half of what this module takes to load, and not needed to start

    chosen = settings.store
    if is_embedded(settings):
        path = admin_token_file(settings)
        token = settings.http.admin_token.get_secret_value()
        if not token and path.is_file():
            token = path.read_text(encoding="ascii")
        url, user, password, ca_file = settings.alerts.store_url, "admin", token, ""
    else:
        url, user, password, ca_file = chosen.url, chosen.user, chosen.password.get_secret_value(), chosen.ca_file
    try:
        store = ClickHouseStore(
            url, user=user, password=password, database=chosen.database, ca_file=ca_file, timeout=_WRITE_SECONDS
        )
    except ValueError as error:  # the native protocol, say, which takes no rows here
        raise StoreUnavailable(f"store.url: {error}") from None
    try:
        yield store
    finally:
        store.close()
