"""One file of settings, one frozen model a part; every key also by environment.

``FLOWTIDE_COLLECTOR__LISTEN='["0.0.0.0:2055"]'`` sets ``listen`` of ``[collector]``.  The environment wins over the
file, the file over the defaults.  Unknown keys are refused with the nearest name.
"""

import difflib
import json
import os
import tomllib
import zoneinfo
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from collector.settings import CollectorSettings
from dashboards.alerts.settings import AlertSettings
from dashboards.settings import ConsoleSettings
from enricher.settings import EnricherSettings
from sinks.settings import BusSettings, HttpSettings, KafkaSettings, SinkSettings, StoreSettings

PREFIX = "FLOWTIDE_"
_NOT_SETTINGS = {
    "FLOWTIDE_CONFIG", "FLOWTIDE_SHARED", "FLOWTIDE_NO_SKIP", "FLOWTIDE_KAFKA_LIBS", "FLOWTIDE_SCREENSHOTS",
}  # fmt: skip


class SettingsError(Exception):
    """A setting is wrong; the message says which, where it came from and what to do."""


class LogSettings(BaseModel):
    """What is written to standard error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    level: str = Field("info", pattern="^(debug|info|warning|error)$")
    json_lines: bool = Field(False, description="one JSON object a line, for machines")


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=False
    )

    data: Path = Field(Path("flowtide-data"), description="directory of bus, store and state")
    timezone: str = Field("UTC", description="IANA zone of days and hours; fixed by the store's first migration")
    collector: CollectorSettings = CollectorSettings()
    enricher: EnricherSettings = EnricherSettings()
    bus: BusSettings = BusSettings()
    kafka: KafkaSettings = KafkaSettings()
    store: StoreSettings = StoreSettings()
    sink: SinkSettings = SinkSettings()
    http: HttpSettings = HttpSettings()
    console: ConsoleSettings = ConsoleSettings()
    alerts: AlertSettings = AlertSettings()
    log: LogSettings = LogSettings()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is not an IANA time zone, for example Asia/Tokyo") from error
        return name

    @model_validator(mode="after")
    def _has_topics_where_they_are(self) -> Self:
        topics = self.enricher.topics
        if topics and not self.bus.url.startswith("kafka:"):
            raise ValueError(
                f"enricher: leases in the topic {topics[0]} need a bus of Kafka, whose brokers they use: set bus.url to"
                " kafka://HOST:PORT, or remove the source of kind kafka and radius.publish"
            )
        if self.enricher.radius.publish and not self.enricher.radius.listen:
            raise ValueError("enricher.radius.publish: there is nothing to publish without enricher.radius.listen")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is said in code, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _file_in_force)

    def folder(self, url: str, scheme: str) -> Path:
        """The directory of a ``spool:`` or ``chdb:`` URL; SettingsError for another scheme."""
        found, _, path = url.partition(":")
        if found != scheme or not path:
            raise SettingsError(f"{url!r}: this version knows {scheme}:DIRECTORY here")
        return Path(self.filled(path))

    def filled(self, text: str) -> str:
        """A path or URL of the settings with the data directory in its place."""
        return text.replace("{data}", str(self.data))


_file_in_force: Path | None = None


def load(path: Path | None = None, **overrides: Any) -> Settings:
    """Settings from a TOML file (default: $FLOWTIDE_CONFIG), the environment and ``overrides``; SettingsError."""
    global _file_in_force
    chosen = path or (Path(os.environ["FLOWTIDE_CONFIG"]) if os.environ.get("FLOWTIDE_CONFIG") else None)
    if chosen is not None and not chosen.is_file():
        raise SettingsError(f"{chosen}: no such file; name another with --config")
    _file_in_force = chosen
    try:
        _refuse_unknown_environment()
        return Settings(**overrides)
    except ValidationError as error:
        source = f"{chosen} or the environment" if chosen else "the environment"
        lines = [_explain(detail) for detail in error.errors(include_url=False, include_input=False)]
        raise SettingsError(f"settings from {source}:\n  " + "\n  ".join(lines)) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{chosen}: not TOML: {error}") from None
    finally:
        _file_in_force = None


def reveal(settings: Settings) -> str:
    """JSON with secrets in clear, for a child process's standard input only."""

    def plain(value: object) -> str:
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    return json.dumps(settings.model_dump(), default=plain)


def with_setting(settings: Settings, part: str, key: str, value: object) -> Settings:
    """The settings with one key of a part changed."""
    return settings.model_copy(update={part: getattr(settings, part).model_copy(update={key: value})})


def known_keys() -> list[str]:
    """Every key as ``part.key``."""
    return [".".join(path) for path in _paths(Settings)]


def _paths(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += _paths(kind, (*prefix, name))
        else:
            found.append((*prefix, name))
    return found


def _refuse_unknown_environment() -> None:
    known = {PREFIX + "__".join(path).upper() for path in _paths(Settings)}
    for name in os.environ:
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in _NOT_SETTINGS or upper in known:
            continue
        if any(key.startswith(upper + "__") for key in known):  # a whole part as JSON
            continue
        raise SettingsError(f"environment: {name} is not a setting{_nearest(upper, sorted(known))}")


def _explain(detail: Any) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key{_nearest(path, known_keys())}"
    return f"{path}: {detail['msg']}" if path else str(detail["msg"]).removeprefix("Value error, ")


def _nearest(name: str, candidates: list[str]) -> str:
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else "; `flowtide check` lists the keys"
