"""Settings of the enricher; frozen, unknown keys refused."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator

from enricher.points import ObservationPoints
from enricher.ports import port_table
from enricher.prefixes import parse_prefix
from enricher.radius.settings import TOPIC, RadiusSettings
from sinks.settings import Part

LEASES, RADIUS = "leases", "radius"
"""Names of the sources that have a setting of their own."""

_LEAST_KEY_CHARACTERS = 16  # shorter keys can be searched, and then names be tested against ids


class SourceSettings(Part):
    """A file, a folder or a pattern of files, or a topic, that say who held which prefix when."""

    kind: Literal["csv", "parquet", "kea4", "kea6", "kafka"] = Field(
        "csv", description="parquet has the columns of the CSV; kafka: a compacted topic, records of JSON with them"
    )
    path: str = Field(
        min_length=1,
        description="a file; csv and parquet: or a folder, or a pattern such as /x/*.csv; kafka: the topic's name",
    )
    name: str = Field("", pattern=r"^[\w.-]*$", description="in metrics and logs; empty: the kind and the file's name")
    priority: int = Field(0, ge=0, le=255, description="of two sources' leases of one prefix the larger one's counts")
    stale_seconds: NonNegativeFloat = Field(0, description="a source silent for longer is reported; 0: never")
    least_share_of_rows: float = Field(
        0.6,
        ge=0,
        lt=1,
        description="csv, parquet: no more rows than this share of those in force are refused; 0: never",
    )
    least_share_of_coverage: float = Field(
        0.9, ge=0, le=1, description="and rows that match less than this share of what those in force match"
    )
    most_share_of_overlaps: float = Field(1, ge=0, le=1, description="and rows of which more are cut by a newer one")
    most_share_of_ambiguous: float = Field(
        0.01, ge=0, le=1, description="and rows of which more say another subscriber for the same prefix and begin"
    )
    subscriber: Literal["remote_id", "circuit_id", "client_id", "duid", "hwaddr", "hostname"] = Field(
        "remote_id", description="kea4, kea6: what names the subscriber; the ids of relays need store-extended-info"
    )
    service: Literal["fixed", "mobile"] = Field("fixed", description="kea4, kea6: of all their subscribers")
    segment: Literal["personal", "enterprise", "unknown"] = Field("unknown", description="kea4, kea6: as service")
    access: Literal["pppoe", "ipoe", "mobile", "other"] = Field("ipoe", description="kea4, kea6: as service")
    group: str = Field("", max_length=64, description="kea4, kea6: as service")
    history_seconds: PositiveFloat = Field(
        172_800,
        description="kea4, kea6, kafka: leases that ended longer ago are forgotten: longer than flows are ever late",
    )
    max_leases: PositiveInt = Field(
        4_000_000, description="kea4, kea6: addresses held at a time; kafka: leases; more are passed over"
    )

    @model_validator(mode="after")
    def _is_a_topic(self) -> Self:
        if self.kind == "kafka" and not re.fullmatch(TOPIC, self.path):
            raise ValueError(f"path {self.path!r} is no name of a topic: letters, digits, dots, underscores, hyphens")
        return self

    @property
    def label(self) -> str:
        """The source's name."""
        path = Path(self.path)
        called = path.parent.name if re.search(r"[*?[]", path.name) else path.name
        return self.name or f"{self.kind}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', called).strip('-.') or 'files'}"


class EnricherSettings(Part):
    """Whose flow it is, and how large enriched messages are."""

    leases: str = Field("", description="CSV of who held which prefix when; empty: none but those of sources")
    sources: tuple[SourceSettings, ...] = Field((), description="further sources of leases, all in force at once")
    radius: RadiusSettings = RadiusSettings()
    reload_seconds: float = Field(5.0, gt=0, le=3600, description="how often lease files are looked at")
    lease_file_bytes: PositiveInt = Field(
        256 << 20, description="a larger lease file is refused; about three million lines"
    )
    local_prefixes: tuple[str, ...] = Field((), description="whose side gives the direction where there is no lease")
    observation_points: dict[str, tuple[str, ...]] = Field(
        {},
        description='exporter prefixes at which a service is counted, as {fixed = ["192.0.2.0/24"]};'
        " \"*\" are the services not named, '' flows without a subscriber; empty: everywhere",
    )
    key: SecretStr = Field(
        SecretStr(""), description="secret of the subscriber ids; empty: a file made at the first start"
    )
    named_ports: tuple[str, ...] = Field(
        (), description='ports with a bucket of their own, as "udp/4500", beside 443 and tcp/80'
    )
    max_rows: PositiveInt = Field(
        240_000,
        le=240_000,
        description="raw rows of an enriched message; it has up to twice as many, one insert at most 500,000",
    )
    telemetry: str = Field("127.0.0.1:9111", description="HOST:PORT of /metrics and /healthz of `flowtide enrich`")
    max_wait_seconds: float = Field(1.0, gt=0, le=60, description="and at this age")

    @model_validator(mode="after")
    def _have_names(self) -> Self:
        names = [source.label for source in self.sources]
        for name in names:
            if names.count(name) > 1 or name in (LEASES, RADIUS):
                raise ValueError(f"two sources of leases are called {name}: give one another name")
        return self

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that leases are read from or written to."""
        read = [source.path for source in self.sources if source.kind == "kafka"]
        return tuple(dict.fromkeys((*read, *filter(None, [self.radius.publish]))))

    @field_validator("local_prefixes")
    @classmethod
    def _are_prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            parse_prefix(prefix)
        return prefixes

    @field_validator("observation_points")
    @classmethod
    def _are_exporters(cls, rules: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        ObservationPoints.of(rules)
        return rules

    @field_validator("named_ports")
    @classmethod
    def _are_ports(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        port_table(named)
        return named

    @field_validator("key")
    @classmethod
    def _is_long_enough(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < _LEAST_KEY_CHARACTERS:
            raise ValueError(f"a key has at least {_LEAST_KEY_CHARACTERS} characters")
        return key
