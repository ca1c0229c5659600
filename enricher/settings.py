"""Settings of the enricher; frozen, unknown keys refused."""

from pydantic import Field, PositiveInt, SecretStr, field_validator

from enricher.points import ObservationPoints
from enricher.ports import port_table
from enricher.prefixes import parse_prefix
from sinks.settings import Part

_LEAST_KEY_CHARACTERS = 16  # shorter keys can be searched, and then names be tested against ids


class EnricherSettings(Part):
    """Whose flow it is, and how large enriched messages are."""

    leases: str = Field("", description="CSV of who held which prefix when; empty: no subscribers")
    reload_seconds: float = Field(5.0, gt=0, le=3600, description="how often the lease file is looked at")
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
