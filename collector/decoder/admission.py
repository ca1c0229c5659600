"""Whose datagrams are decoded: by prefix, and at most so many a second of one exporter."""

from ipaddress import ip_address, ip_network

from collector.decoder.errors import Reason
from collector.settings import AdmissionSettings, Network

REFUSED = "refused"
"""Counted instead of an address that is not admitted: senders' addresses can be invented, a label must be bounded."""
_KNOWN = 65_536  # addresses whose verdict or bucket is remembered, about 20 MB; then all are judged anew


class Admission:
    """The operator's lists and limits; pure: the time of arrival is an argument."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self._settings = settings
        listed = [(ip_network(prefix, strict=False), True) for prefix in settings.allow]
        listed += [(ip_network(prefix, strict=False), False) for prefix in settings.deny]
        # The longest prefix wins; of the same prefix in both lists, deny.
        self._listed: list[tuple[Network, bool]] = sorted(listed, key=lambda entry: (-entry[0].prefixlen, entry[1]))
        self._verdicts: dict[str, Reason | None] = {}
        self._buckets: dict[str, tuple[float, int]] = {}  # datagrams left, at Unix ms
        self.is_open = not listed and settings.unknown == "admit" and not settings.datagrams_per_second
        """Nothing is ever refused: nobody needs to ask."""
        self.is_lasting = not settings.datagrams_per_second
        """Who is refused now always is."""

    def refuses(self, exporter: str, received_ms: int) -> Reason | None:
        """Why this datagram of the exporter is not decoded; None: it is."""
        try:
            verdict = self._verdicts[exporter]
        except KeyError:
            verdict = self._judge(exporter)
        if verdict is None and self._settings.datagrams_per_second and not self._has_token(exporter, received_ms):
            return Reason.RATE_LIMIT
        return verdict

    def _judge(self, exporter: str) -> Reason | None:
        if len(self._verdicts) >= _KNOWN:
            self._verdicts.clear()
        try:
            address = ip_address(exporter)
        except ValueError:  # a name in a test or a table of exporters: no prefix holds it
            listed = None
        else:
            listed = next((allowed for network, allowed in self._listed if address in network), None)
        if listed is None:
            verdict = None if self._settings.unknown == "admit" else Reason.UNKNOWN_EXPORTER
        else:
            verdict = None if listed else Reason.DENIED
        self._verdicts[exporter] = verdict
        return verdict

    def _has_token(self, exporter: str, received_ms: int) -> bool:
        """A bucket of one second's datagrams, so that a burst of a template refresh is no offence."""
        rate = self._settings.datagrams_per_second
        left, since = self._buckets.get(exporter, (float(rate), received_ms))
        if len(self._buckets) >= _KNOWN and exporter not in self._buckets:
            self._buckets.clear()
        # A clock that was set back gives nothing, and takes nothing.
        left = min(float(rate), left + max(0, received_ms - since) * rate / 1000)
        taken = left >= 1.0
        self._buckets[exporter] = (left - taken, received_ms)
        return taken
