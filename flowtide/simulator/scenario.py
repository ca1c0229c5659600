"""A scenario: the people, the exporters, what goes wrong and when, as one TOML file.

``flowtide/simulator/scenarios`` has those of the repository; their names work without a path.
"""

import tomllib
import zoneinfo
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from dashboards.macros import MacroError, interval_of
from sinks.settings import Part

SCENARIOS = Path(__file__).with_name("scenarios")

_NETFLOW5_MOST = 16_383  # 14 bits of its header

Service = Literal["fixed", "mobile"]
Access = Literal["pppoe", "ipoe", "mobile"]
Protocol = Literal["netflow5", "netflow9", "ipfix", "sflow"]


class ScenarioError(Exception):
    """The file cannot be used; the message says where and why."""


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return interval_of(value) / 1000
    except MacroError as error:
        raise ValueError(str(error)) from None


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
"""A number of seconds, or text as ``90s``, ``5m``, ``2h``, ``7d``."""

Percent = Annotated[float, Field(ge=0, le=100)]


class PeoplePlan(Part):
    """Who the users are.  A user is (subscription, access), on mobile a line number."""

    year: int = Field(2024, ge=2020, le=2024, description="whose daily volumes and port mix are theirs")
    pppoe: int = Field(256, ge=0, description="personal users by access")
    ipoe: int = Field(64, ge=0)
    mobile: int = Field(220, ge=0)
    enterprise_pppoe: int = Field(26, ge=0, description="enterprise users by access")
    enterprise_ipoe: int = Field(6, ge=0)
    enterprise_mobile: int = Field(22, ge=0)
    volumes: Literal["strata", "random"] = Field(
        "strata", description="strata: the published means come out exactly; random: drawn"
    )
    on_both: Percent = Field(0, description="of personal PPPoE subscriptions that have IPoE, too: two users each")
    second_line: Percent = Field(0, description="of mobile subscriptions with two lines: two users each")
    ipv6_fixed: Percent = Field(30, description="of flows of fixed users")
    ipv6_mobile: Percent = Field(50, description="of flows of mobile users")
    groups: dict[str, float] = Field({"east": 0.5, "west": 0.3, "north": 0.2}, min_length=1)
    churn: Percent = Field(10, description="of PPPoE and mobile addresses that change hands a day")
    shared: Percent = Field(0, description="of IPoE users with a port range of a shared IPv4 address (MAP-E)")
    shared_mobile: Percent = Field(0, description="of mobile users with a port block of a shared IPv4 address (CGNAT)")


class ExporterPlan(Part):
    """One exporter: a source address, what it sees and how it tells of it."""

    source: str = Field(description="address its datagrams come from; of loopback where the target is")
    service: Service = "fixed"
    access: tuple[Access, ...] = Field((), description="users it sees; empty: all of its service")
    protocol: Protocol = "netflow9"
    form: Literal["fixed", "variable", "biflow"] = Field("fixed", description="of IPFIX records")
    domains: tuple[int, ...] = Field((1,), min_length=1, description="observation domains; flows are dealt out to them")
    sampling: int = Field(1, ge=1, le=16_384, description="one packet in so many is seen")
    says: int | None = Field(None, ge=0, description="interval that it tells; empty: the true one")
    told: Literal["options", "header", "nothing"] = Field(
        "options", description="where the interval is told; header: of NetFlow v5 and sFlow, which have no options"
    )
    share: float = Field(1.0, gt=0, description="of all flows a second, by weight")
    active_seconds: Seconds = Field(60, description="a flow that still runs is exported after so long")
    idle_seconds: Seconds = Field(15, description="an ended one after so long")
    template_seconds: Seconds = Field(10, description="templates and options are repeated after so long")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.form != "fixed" and self.protocol != "ipfix":
            raise ValueError(f"form {self.form} is of ipfix, {self.source} has {self.protocol}")
        if self.told == "options" and self.protocol in ("netflow5", "sflow"):
            raise ValueError(f'{self.source}: {self.protocol} has no options, write told = "header"')
        if self.told == "header" and self.protocol in ("netflow9", "ipfix"):
            raise ValueError(f'{self.source}: the header of {self.protocol} has no interval, write told = "options"')
        if self.protocol == "netflow5" and (self.told_sampling or 0) > _NETFLOW5_MOST:
            raise ValueError(f"{self.source}: the header of NetFlow v5 tells intervals up to {_NETFLOW5_MOST}")
        return self

    @property
    def told_sampling(self) -> int | None:
        """The interval as told; None: nothing is said."""
        return None if self.told == "nothing" else self.sampling if self.says is None else self.says


class Incident(Part):
    """Something that happens from ``begin`` to ``end``, counted from the begin of the scenario."""

    kind: Literal[
        "quic_step", "quic_block", "exporter_silent", "clock_skew", "sampling_change", "template_loss", "long_flows",
        "duplicate_export",
    ]  # fmt: skip
    begin: Seconds = 0
    end: Seconds = Field(float("inf"), description="outside of it")
    service: Service | None = Field(None, description="of quic_step and quic_block; empty: both")
    exporter: str = Field("", description="source of the one it happens to; empty: all")
    points: float = Field(0, ge=-100, le=100, description="quic_step: added to QUIC's share of port 443")
    seconds: float = Field(0, description="clock_skew: its clock is ahead by so much; long_flows: so long they last")
    sampling: int = Field(1, ge=1, le=16_384, description="sampling_change: the interval meanwhile")
    other: str = Field("", description="duplicate_export: source address of the second exporter")


class ClockPlan(Part):
    """When it happens, and how fast."""

    zone: str = Field("Asia/Tokyo", description="of the users' days and hours")
    begin: str = Field("now", description="local time as 2024-06-03T00:00, or now")
    length: Seconds = Field(0, description="of the scenario in its own time; 0: without end")
    speed: float = Field(1, gt=0, description="simulated seconds a second, at most; 0.1: slower than life")

    @field_validator("zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        if zone not in zoneinfo.available_timezones():
            raise ValueError(f"{zone!r} is not a time zone: write Asia/Tokyo or UTC")
        return zone

    def begin_ms(self, now_ms: int) -> int:
        """Unix milliseconds of the begin."""
        if self.begin == "now":
            return now_ms
        return int(datetime.fromisoformat(self.begin).replace(tzinfo=zoneinfo.ZoneInfo(self.zone)).timestamp() * 1000)

    @field_validator("begin")
    @classmethod
    def _is_time(cls, begin: str) -> str:
        if begin != "now" and datetime.fromisoformat(begin).tzinfo is not None:
            raise ValueError("a local time has no offset: write 2024-06-03T00:00")
        return begin


class FlowPlan(Part):
    """How many flows, and which law makes them."""

    law: Literal["rate", "volumes", "line"] = Field(
        "rate",
        description="rate: so many flows a second; volumes: each user's octets of each day, exactly; line: datagrams"
        " built beforehand, sent round and round",
    )
    per_second: float = Field(2_000, gt=0, description="rate and line: of all exporters; rate: mean over a week")
    daily_curve: bool = Field(default=True, description="rate: more in the evening than at night")
    most_octets: PositiveInt = Field(2_000_000_000, description="volumes: a larger flow is cut into several")


def _only_once(exporters: tuple[ExporterPlan, ...]) -> tuple[ExporterPlan, ...]:
    sources = [each.source for each in exporters]
    for source in sources:
        if sources.count(source) > 1:
            raise ValueError(f"two exporters have the source {source}")
    return exporters


class Scenario(Part):
    """The whole of it."""

    title: str = Field(min_length=1)
    seed: int = 1
    clock: ClockPlan = ClockPlan()
    people: PeoplePlan = PeoplePlan()
    flows: FlowPlan = FlowPlan()
    exporters: Annotated[tuple[ExporterPlan, ...], AfterValidator(_only_once)] = Field(min_length=1)
    incidents: tuple[Incident, ...] = ()

    @model_validator(mode="after")
    def _incidents_name_exporters(self) -> Self:
        known = {each.source for each in self.exporters}
        for at, each in enumerate(self.incidents):
            if each.exporter and each.exporter not in known:
                raise ValueError(f"incidents.{at}: no exporter has the source {each.exporter}")
        return self


def load_scenario(name: str) -> Scenario:
    """The scenario of a file, or of the repository by its name; ScenarioError."""
    path = Path(name)
    if not path.suffix and not path.exists():
        path = SCENARIOS / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Scenario.model_validate(values)
    except FileNotFoundError:
        there = ", ".join(sorted(each.stem for each in SCENARIOS.glob("*.toml")))
        raise ScenarioError(f"{name}: no such file; the repository's scenarios are {there}") from None
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ScenarioError(f"{path}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    found: Any = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg'].removeprefix('Value error, ')}" if where else found["msg"]
