"""The store as rules ask it: ClickHouse's HTTP interface, one question at a time, nothing written."""

import http.client
import json
import math
import re
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence

from dashboards.alerts.evaluate import AskFailed, AskSilent
from dashboards.asked import CODE, LOGIN_CODES, SETTING_CODES, Target, plain

_CONNECT_SECONDS = 5.0
_AGAIN_SECONDS = 0.5
_GRACE_SECONDS = 5.0  # beyond the query's own limit: waiting for its turn there
_MOST_BYTES = 8 << 20
_FORM = "JSONCompact"
_LATER_CODES = (159, 202, 209, 210, 236, 241, 279)  # too slow, too many queries, network, aborted, memory
_NUMBER = re.compile(r"(?:Nullable\(|LowCardinality\()*(?:U?Int\d|Float|Decimal|Bool|BFloat)")


class StoreAsk:
    """``Ask`` over HTTP; for one thread."""

    def __init__(
        self, target: Target, *, max_seconds: int = 20, patience_seconds: float = 0.0,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:  # fmt: skip
        """``patience_seconds``: so long a store that refuses connections is asked again: it may be starting.

        ``wait`` is true when there is no more time for that.

        ValueError: the URL; OSError: the file of authorities.
        """
        parts = urllib.parse.urlsplit(target.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{target.url!r}: write http://HOST:PORT or https://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port
        self._trust = ssl.create_default_context(cafile=target.ca_file or None) if parts.scheme == "https" else None
        self._target, self._seconds, self._patience, self._wait = target, max_seconds, patience_seconds, wait
        # An account that may choose nothing has its own limits, and answers all the same.
        self._manners: list[dict[str, str]] = [
            {"readonly": "1", "max_execution_time": str(max_seconds)}, {"max_execution_time": str(max_seconds)}, {},
        ]  # fmt: skip

    def __call__(self, sql: str) -> Sequence[Mapping[str, object]]:
        """Rows; AskFailed, AskSilent."""
        while True:
            status, body = self._patiently(sql, self._manners[0])
            if status == 200:
                return _rows(body)
            text = body.decode(errors="replace")
            found = CODE.search(text)
            code = int(found[1]) if found else 0
            if code in SETTING_CODES and len(self._manners) > 1:
                del self._manners[0]
                continue
            if code in LOGIN_CODES:
                raise AskSilent(f"{self._named()} does not let {self._target.user!r} in: set alerts.store_user and"
                                " alerts.store_password")  # fmt: skip
            if code == 0 or code in _LATER_CODES:
                raise AskSilent(f"{self._named()}: {plain(text)[:300] or f'status {status}'}")
            raise AskFailed(plain(text)[:1_000])

    def _patiently(self, sql: str, manner: Mapping[str, str]) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._post(sql, manner)
            except (ConnectionError, http.client.RemoteDisconnected) as error:
                if time.monotonic() >= deadline or self._wait(_AGAIN_SECONDS):
                    raise AskSilent(f"{self._named()} does not answer: {error}; is it running?") from None
            except (OSError, http.client.HTTPException) as error:
                why = f"no answer in {self._seconds} s" if isinstance(error, TimeoutError) else str(error)
                raise AskSilent(f"{self._named()} does not answer: {why or type(error).__name__}") from None

    def _post(self, sql: str, manner: Mapping[str, str]) -> tuple[int, bytes]:
        fields = {"database": self._target.database, "default_format": _FORM, "wait_end_of_query": "1", **manner}
        headers = {"X-ClickHouse-User": self._target.user, "X-ClickHouse-Key": self._target.password,
                   "Connection": "close"}  # fmt: skip
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_SECONDS)
            if self._trust is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_SECONDS, context=self._trust)
        )
        deadline = time.monotonic() + self._seconds + _GRACE_SECONDS
        try:
            connection.connect()
            connection.sock.settimeout(self._seconds + _GRACE_SECONDS)
            connection.request("POST", f"/?{urllib.parse.urlencode(fields)}", sql.encode(), headers)
            answer = connection.getresponse()
            body = bytearray()
            while piece := answer.read1(1 << 16):
                body += piece
                if len(body) > _MOST_BYTES:
                    raise AskFailed(f"the answer has more than {_MOST_BYTES >> 20} MB: ask for fewer rows")
                if time.monotonic() > deadline:
                    raise TimeoutError
            return answer.status, bytes(body)
        finally:
            connection.close()

    def _named(self) -> str:
        return f"the store at {self._target.url}"


def _rows(body: bytes) -> list[dict[str, object]]:
    try:
        answer = json.loads(body)
        names = [str(column["name"]) for column in answer["meta"]]
        numbers = [_NUMBER.match(column["type"]) is not None for column in answer["meta"]]
        found = [
            {name: _number(value) if number else value for name, value, number in zip(names, row, numbers, strict=True)}
            for row in answer["data"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise AskFailed(f"the answer is not {_FORM}: {type(error).__name__}; leave FORMAT out of the query") from None
    if len(set(names)) != len(names):
        raise AskFailed(f"two columns have one name: {', '.join(names)}")
    return found


def _number(value: object) -> float | None:
    """64-bit integers and NaN may come in quotes: a server decides."""
    if value is None:
        return None
    number = float(value) if isinstance(value, int | float | str) else math.nan
    return number if math.isfinite(number) else None
