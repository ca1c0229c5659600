"""Settings of the alerts; frozen, unknown keys refused."""

import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, SecretStr, field_validator

from dashboards.alerts.webhook_settings import NotifySettings
from dashboards.asked import StoreUrl
from sinks.listening import host_and_port

BANDS = {"fixed": (13.0, 29.0), "mobile": (14.5, 30.5)}
"""The traffic report's shares of QUIC (Q1, 2024) and 8 points to each side."""


class AlertSettings(NotifySettings):
    """Rules on the QUIC share and on the path itself: who evaluates them, what is special here, who is told."""

    enabled: bool | Literal["auto"] = Field(
        "auto", description="evaluate in flowtide run and serve; auto: where the store is the engine in process"
    )
    listen: str = Field("127.0.0.1:9114", description="HOST:PORT of /metrics, /healthz, /api/alerts; busy: the next")
    files: tuple[Path, ...] = Field((), description="further files of rules in Grafana's provisioning form")
    store_url: StoreUrl = Field("", description="http(s)://HOST:PORT that is asked; empty: as the console's")
    store_user: str = Field("", description="who asks there; empty: console.store_user with its password")
    store_password: SecretStr = Field(SecretStr(""), description="of that account")
    query_seconds: PositiveInt = Field(20, le=600, description="time one query of a rule may take")
    holidays: tuple[datetime.date, ...] = Field(
        (), description='local days that are no measure for others, as ["2026-12-25", "2027-01-01"]'
    )
    bands: dict[str, tuple[float, float]] = Field(
        BANDS, description="lowest and highest usual Q1 of a service in per cent, until it has 28 days of its own"
    )
    grace_seconds: int = Field(
        120, ge=0, le=3_600, description="a bucket is whole so long after its end: inactive time-out and a minute"
    )

    @field_validator("listen")
    @classmethod
    def _an_address(cls, listen: str) -> str:
        host_and_port(listen)
        return listen

    @field_validator("store_user")
    @classmethod
    def _a_reader(cls, user: str) -> str:
        if user.lower() == "admin":
            raise ValueError(f"{user!r}: name an account that may only read")
        return user

    @field_validator("bands")
    @classmethod
    def _in_order(cls, bands: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for service, (low, high) in bands.items():
            if not 0 <= low < high <= 100:
                raise ValueError(f"{service}: {low}, {high}: write the lower and the higher share in per cent")
        return bands

    def told(self) -> dict[str, str]:
        """What the rules' queries read of it in the store's table ``setting``."""
        return {
            f"{STORED}holidays": ",".join(day.isoformat() for day in sorted(set(self.holidays))),
            f"{STORED}grace_seconds": str(self.grace_seconds),
            **{f"{STORED}band:{service}": f"{low:g}-{high:g}" for service, (low, high) in sorted(self.bands.items())},
        }


STORED = "alerts:"
"""How the names of these settings begin in the store."""
