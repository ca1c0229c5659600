"""Settings of the decoder; frozen, unknown keys refused."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from collector.receiver import ReceiverSettings
from sinks.settings import Part

Network = IPv4Network | IPv6Network


def _networks(prefixes: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(prefix, strict=False) for prefix in prefixes)


class SamplingSettings(Part):
    """The operator's word on sampling, by prefix of exporter addresses; the longest prefix wins."""

    default: dict[str, PositiveInt] = Field(
        default_factory=dict, description="PREFIX = interval, for exporters that say nothing of sampling"
    )
    override: dict[str, PositiveInt] = Field(
        default_factory=dict, description="PREFIX = interval, against whatever the exporter says"
    )

    @field_validator("default", "override")
    @classmethod
    def _prefixes(cls, intervals: dict[str, int]) -> dict[str, int]:
        _networks(tuple(intervals))
        return intervals


class TimeSettings(Part):
    """Within which bounds the times of an exporter are believed; outside: flow time = received time, flagged."""

    max_age_seconds: PositiveInt = Field(default=86_400, description="flow end lies within this of the export time")
    max_skew_seconds: PositiveInt = Field(default=600, description="export time lies within this of the arrival")
    max_duration_seconds: PositiveInt = Field(
        default=3_600, description="a longer flow keeps its end, its start is moved up"
    )
    trusted: tuple[str, ...] = Field(
        default=(), description="prefixes of exporters whose times are believed as they are"
    )

    @field_validator("trusted")
    @classmethod
    def _prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        _networks(prefixes)
        return prefixes


class DecoderSettings(Part):
    """How much the decoder remembers and how it reads."""

    domains: PositiveInt = Field(
        default=16_384, description="observation domains remembered; the longest silent go first"
    )
    templates: PositiveInt = Field(
        default=131_072, description="templates remembered in all; the longest unused go first"
    )
    templates_per_exporter: PositiveInt = Field(default=4_096, description="of which one exporter may have this many")
    samplers_per_domain: PositiveInt = Field(
        default=4_096, description="samplers and interfaces with an interval of their own"
    )
    names: PositiveInt = Field(
        default=262_144, description="names of interfaces, applications, VRFs and samplers, about 60 MB"
    )
    held_bytes: NonNegativeInt = Field(default=64 << 20, description="bound of data sets that wait for their template")
    held_bytes_per_exporter: NonNegativeInt = Field(
        default=8 << 20, description="of which one exporter may hold this much"
    )
    held_seconds: PositiveInt = Field(
        default=1_800, description="a data set waits this long; templates come every 1 to 30 min"
    )
    held_sampler_seconds: NonNegativeInt = Field(
        default=600, description="a row waits this long for its sampler's interval, once; 0: not at all"
    )
    idle_seconds: PositiveInt = Field(default=86_400, description="a domain silent for this long is forgotten")
    rows: PositiveInt = Field(default=65_536, description="rows of one batch, about; larger groups gain nothing")
    extra: tuple[str, ...] = Field(
        default=(),
        max_length=64,  # each costs every record that has it
        description="elements kept as text in column extra: NAME of IANA's, or NAME=PEN/ELEMENT [TYPE]",
    )
    reverse: bool = Field(default=True, description="reverse halves of biflows (RFC 5103) as rows of their own")
    sampling: SamplingSettings = Field(default_factory=SamplingSettings)
    times: TimeSettings = Field(default_factory=TimeSettings)

    @field_validator("extra")
    @classmethod
    def _elements(cls, choices: tuple[str, ...]) -> tuple[str, ...]:
        # The decoder reads these settings, so it cannot be there before them.
        from collector.decoder.extra import parse

        names = [parse(choice).name for choice in choices]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"chosen twice: {', '.join(twice)}")
        return choices


class AdmissionSettings(Part):
    """Whose datagrams are decoded; what is refused is counted, those of no admitted exporter together."""

    allow: tuple[str, ...] = Field(default=(), description="prefixes of exporters; of several the longest decides")
    deny: tuple[str, ...] = Field(default=(), description="prefixes refused, unless a longer one is allowed")
    unknown: Literal["admit", "refuse"] = Field(default="admit", description="exporters on neither list")
    datagrams_per_second: NonNegativeInt = Field(default=0, description="of one exporter; 0: no limit")

    @field_validator("allow", "deny")
    @classmethod
    def _prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        _networks(prefixes)
        return prefixes


TRUST_ALL = TimeSettings(trusted=("0.0.0.0/0", "::/0"))
"""For replay and back-fill, whose flows are old by nature."""


class CollectorSettings(Part):
    """The whole collector."""

    id: str = Field("collector", min_length=1, max_length=64, description="name of this collector in rows and messages")
    receiver: ReceiverSettings = Field(default_factory=ReceiverSettings)
    interfaces: str = Field(
        default="",
        description="CSV of exporter,interface,name,description,speed (bits a second) over what exporters tell; "
        "empty: none",
    )
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    decoder: DecoderSettings = Field(default_factory=DecoderSettings)
    group_seconds: float = Field(
        default=0.4, gt=0, le=10, description="decoded rows wait at most this long for company"
    )
    telemetry: str = Field("127.0.0.1:9109", description="HOST:PORT of /metrics and /healthz; busy: the next free one")
