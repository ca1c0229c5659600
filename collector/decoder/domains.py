"""Exporters and their observation domains: templates, and what options data said of the domain."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from collector.batcher import slot_of
from collector.decoder.collected import Collected
from collector.decoder.layouts import Layout
from collector.decoder.names import Key, Name
from collector.decoder.sequence import MESSAGES_A_SECOND, RECORDS_A_SECOND, Sequence
from collector.settings import DecoderSettings, Network
from sinks.schema import SamplingSource

_HOT = (
    "datagrams", "datagrams_decoded", "sets", "sets_decoded", "records_flow", "clock_skew_ms", "clock_skew_messages",
)  # fmt: skip
_COUNTS_RECORDS = (5, 10)  # versions whose sequence numbers count flows or records; of all others, messages
_LATELY_MS = 60_000
MOST_SKEW_MS = 2**32  # 50 days: a device that lives in 1970 must not outweigh all others, nor overflow a sum


@dataclass(slots=True)
class Template:
    """A description of records; ``scopes`` None: of flows, else of options with so many scope fields."""

    number: int
    layout: Layout
    scopes: int | None
    used_ms: int = 0  # last seen or last used
    told_ms: int = 0  # last announced

    @property
    def is_flow(self) -> bool:
        """Whether its records are flows."""
        return self.scopes is None


@dataclass(slots=True)
class Facts:
    """What options data said of a domain.  What was not known is added in place, so that it also holds for records
    that wait in the same group; what changes begins a new object, so that it does not."""

    init_ms: int | None = None  # Unix ms at which the uptime was 0 (IE 160)
    interval: int | None = None  # of the whole domain
    header: int | None = None  # NetFlow v5: of the newest header
    samplers: dict[int, int] = field(default_factory=dict)  # interval by sampler or selector id
    interfaces: dict[int, int] = field(default_factory=dict)  # interval by interface

    def copy(self) -> "Facts":
        """The same, independent."""
        return Facts(self.init_ms, self.interval, self.header, dict(self.samplers), dict(self.interfaces))


@dataclass(slots=True, eq=False)
class Exporter:
    """A device; its settings are looked up once."""

    address: str
    trusted: bool
    default: int | None  # sampling interval by setting
    override: int | None
    domains: dict[tuple[int, int], "Domain"] = field(default_factory=dict)  # by version and number
    skew_ms: int = 600_000  # beyond which its clock is counted as skewed
    templates: int = 0
    held_bytes: int = 0
    speeds: dict[int, int] = field(default_factory=dict)  # bits a second by interface; 0 is not in it
    told: "Told | None" = None

    def messages(self) -> int:
        """Messages of all its domains since they were opened."""
        return sum(domain.drained + domain.datagrams for domain in self.domains.values())


@dataclass(slots=True)
class Told:
    """What the exporting process says that it sent (IE 40-42), and what had come when it first did."""

    octets: int
    messages: int
    records: int
    first_messages: int
    came: int
    missed: int = 0  # counted already


@dataclass(slots=True, eq=False)
class Domain:
    """An observation domain (v9: source id) of an exporter, apart for each version it speaks."""

    exporter: Exporter
    version: int
    number: int
    collected: Collected  # of its exporter's slot
    templates: dict[int, Template] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    seen_ms: int = 0
    source: int = -1  # index among the sources of what is collected
    # The counters of the hot path; all others are in ``counts``.
    datagrams: int = 0
    datagrams_decoded: int = 0
    sets: int = 0
    sets_decoded: int = 0
    records_flow: int = 0
    drops: dict[int, int] = field(default_factory=dict)  # sFlow: last total of lost samples, by their source
    clock_skew_ms: int = 0
    clock_skew_messages: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    drained: int = 0  # datagrams that were moved out of ``datagrams``
    names: dict[Key, Name] = field(default_factory=dict)
    sequence: Sequence = field(init=False)

    def __post_init__(self) -> None:
        a_second = RECORDS_A_SECOND if self.version in _COUNTS_RECORDS else MESSAGES_A_SECOND
        self.sequence = Sequence(has_uptime=self.version != 10, a_second=a_second)

    def follow(self, number: int, units: int, export_s: int, uptime_ms: int, received_ms: int) -> None:
        """Account for a message's sequence number (``sequence``), and for its clock unless ``export_s`` is 0."""
        if export_s:
            skew = export_s * 1000 - received_ms
            if skew < 0:
                skew = -skew
            if skew > self.exporter.skew_ms:
                self.clock_skew_messages += 1
                skew = min(skew, MOST_SKEW_MS)
            self.clock_skew_ms += skew
        self.sequence.follow(number, units, export_s, uptime_ms, received_ms)

    def tally(self, counter: str, by: int = 1) -> None:
        """Count."""
        self.counts[counter] = self.counts.get(counter, 0) + by

    def now(self) -> "Source":
        """This domain with what it has said of itself until now."""
        return Source(self, self.facts)

    @property
    def whole_exporter(self) -> "Domain | None":
        """RFC 7011 section 3.1: what is said in domain 0 may be said of the whole exporter."""
        return self.exporter.domains.get((self.version, 0)) if self.number else None

    def drain(self) -> list[tuple[str, int]]:
        """Counters since the last call that are not 0."""
        found = [(name, value) for name in _HOT if (value := getattr(self, name))]
        self.drained += self.datagrams
        for name, _ in found:
            setattr(self, name, 0)
        found += self.sequence.take()
        found += self.counts.items()
        self.counts = {}
        return found


@dataclass(frozen=True, slots=True)
class Source:
    """Who sent a message, and what it had said of itself until then."""

    domain: Domain
    facts: Facts

    @property
    def all_facts(self) -> tuple[Facts, ...]:
        """Those of the domain, then those of the whole exporter."""
        above = self.domain.whole_exporter
        return (self.facts, above.facts) if above else (self.facts,)

    @property
    def init_ms(self) -> int:
        """Unix ms at which the uptime was 0; 0 unknown."""
        return next((facts.init_ms for facts in self.all_facts if facts.init_ms is not None), 0)

    @property
    def interval(self) -> tuple[int, SamplingSource]:
        """Sampling interval of a record that says nothing of sampling."""
        exporter = self.domain.exporter
        if exporter.override is not None:
            return exporter.override, SamplingSource.OVERRIDE
        for facts in self.all_facts:
            if facts.interval is not None:
                return facts.interval, SamplingSource.DOMAIN
        if self.facts.header is not None:
            return self.facts.header, SamplingSource.HEADER
        if exporter.default is not None:
            return exporter.default, SamplingSource.SETTING
        return 1, SamplingSource.ASSUMED


class Domains:
    """All domains, bounded: the ones that were silent longest go first."""

    def __init__(self, settings: DecoderSettings, slots: int) -> None:
        self._settings = settings
        self.slots = [Collected() for _ in range(slots)]
        self.known: dict[tuple[str, int, int], Domain] = {}
        self.exporters: dict[str, Exporter] = {}
        self.templates = 0
        self.changes = 0
        """Grows when a domain or template comes, goes or becomes another."""
        self._speeds: dict[str, dict[int, int]] = {}
        self._trusted = [(ip_network(prefix, strict=False), 1) for prefix in settings.times.trusted]
        self._default = _by_length(settings.sampling.default)
        self._override = _by_length(settings.sampling.override)

    def open(self, address: str, version: int, number: int, seen_ms: int) -> tuple[Domain, list[Domain]]:
        """A new domain, and those that must go for it."""
        gone: list[Domain] = []
        if len(self.known) >= self._settings.domains:
            # A sixteenth at a time, so that a flood of invented domains costs no sort each.
            oldest = sorted(self.known.values(), key=lambda domain: domain.seen_ms)
            gone = oldest[: max(1, len(oldest) // 16)]
            for domain in gone:
                self.close(domain)
        exporter = self.exporters.get(address) or self._meet(address)
        collected = self.slots[slot_of(address, len(self.slots))]
        domain = Domain(exporter, version, number, collected, seen_ms=seen_ms)
        self.changes += 1
        self.known[address, version, number] = exporter.domains[version, number] = domain
        return domain, gone

    def set_speeds(self, speeds: dict[str, dict[int, int]]) -> None:
        """The operator's word on the speeds of interfaces, by exporter; instead of the last."""
        self._speeds = speeds
        for exporter in self.exporters.values():
            exporter.speeds = speeds.get(exporter.address, {})

    def sampler(self, named: tuple[str, int, int]) -> int | None:
        """The interval of (exporter, domain, sampler id), by either version; None: it is not known."""
        address, number, sampler = named
        for version in (10, 9):
            domain = self.known.get((address, version, number))
            for facts in Source(domain, domain.facts).all_facts if domain else ():
                if sampler in facts.samplers:
                    return facts.samplers[sampler]
        return None

    def in_use(self, now_ms: int) -> Iterator[Template]:
        """Templates that records came for within the last minute."""
        for domain in self.known.values():
            if now_ms - domain.seen_ms <= _LATELY_MS:
                for template in domain.templates.values():
                    if now_ms - template.used_ms <= _LATELY_MS:
                        yield template

    def close(self, domain: Domain) -> None:
        """Forget a domain and its templates."""
        exporter = domain.exporter
        self.changes += 1
        self.forget(domain, list(domain.templates.values()))
        del self.known[exporter.address, domain.version, domain.number]
        del exporter.domains[domain.version, domain.number]
        if not exporter.domains:
            del self.exporters[exporter.address]

    def learn(self, domain: Domain, template: Template) -> int:
        """Put a template into the domain; how many others had to go."""
        self.changes += 1
        if template.number not in domain.templates:
            self.templates += 1
            domain.exporter.templates += 1
        domain.templates[template.number] = template
        if domain.exporter.templates > self._settings.templates_per_exporter:
            return self._evict(domain.exporter.domains.values())
        if self.templates > self._settings.templates:
            return self._evict(self.known.values())
        return 0

    def forget(self, domain: Domain, templates: Iterable[Template]) -> None:
        """Take templates out of the domain."""
        self.changes += 1
        for template in templates:
            del domain.templates[template.number]
            self.templates -= 1
            domain.exporter.templates -= 1

    def _evict(self, domains: Iterable[Domain]) -> int:
        # A sixteenth of them at a time: a flood of templates then costs one sort for each such share.
        held = sorted(
            ((template.used_ms, domain, template) for domain in domains for template in domain.templates.values()),
            key=lambda entry: entry[0],
        )
        oldest = held[: max(1, len(held) // 16)]
        for _, domain, template in oldest:
            self.forget(domain, (template,))
        return len(oldest)

    def _meet(self, address: str) -> Exporter:
        exporter = self.exporters[address] = Exporter(
            address,
            trusted=_longest(self._trusted, address) is not None,
            default=_longest(self._default, address),
            override=_longest(self._override, address),
            skew_ms=self._settings.times.max_skew_seconds * 1000,
            speeds=self._speeds.get(address, {}),
        )
        return exporter


def _by_length(intervals: dict[str, int]) -> list[tuple[Network, int]]:
    networks = [(ip_network(prefix, strict=False), interval) for prefix, interval in intervals.items()]
    return sorted(networks, key=lambda entry: -entry[0].prefixlen)


def _longest(networks: Iterable[tuple[Network, int]], address: str) -> int | None:
    try:
        found = ip_address(address)
    except ValueError:  # a name in a test or a table of exporters: no prefix holds it
        return None
    return next((value for network, value in networks if found in network), None)
