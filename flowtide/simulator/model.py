"""The traffic model behind the simulated network: published figures, and what was fitted to them or assumed.

``reference/traffic-model.json`` says of each number which it is.  Volumes and the port mix follow the published tables
of the Broadband Traffic Report (IIJ, Internet Infrastructure Review Vol. 64); hour shapes are ours.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MODEL = Path(__file__).with_name("reference") / "traffic-model.json"

OCTETS_A_MB = 1_000_000

_SERVICES = {"fixed": "broadband", "mobile": "mobile"}  # in the model's words, but for the port mix
_WAYS = {1: "in", 2: "out"}
SHAPES = ("weekday", "weekend")


@dataclass(frozen=True, slots=True)
class Mixture:
    """Normal components of the common logarithm of a user's MB a day: light, typical and heavy."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    widths: tuple[float, ...]


@cache
def mixture(service: str, direction: int, year: int) -> Mixture:
    """Of personal users; ``direction`` 1 from the user, 2 to it.  KeyError for a year that the model has not."""
    row = _rows()[_SERVICES[service], _WAYS[direction], year]
    weights = [float(weight) for weight in row["weights"]]
    total = sum(weights)  # printed with six digits: 1 but for rounding
    return Mixture(tuple(weight / total for weight in weights), tuple(row["mu_log10_MB"]), tuple(row["sigma_log10"]))


@cache
def years(service: str) -> tuple[int, ...]:
    """Those with volumes, oldest first."""
    return tuple(sorted({year for name, _, year in _rows() if name == _SERVICES[service]}))


def port_mix(service: str, year: int) -> dict[str, float]:
    """Percent of all octets, both directions, by row as ``TCP/443`` or ``ESP``; adds up to 100."""
    mix: dict[str, float] = _model()["port_mix_pct"][service][str(year)]
    return dict(mix)


def hour_shape(service: str, direction: int, *, weekend: bool) -> tuple[float, ...]:
    """Of the hours of a local day; weekday and weekend of a service and direction are on one scale.

    Mobile uploads have no shape of their own and take that of downloads.
    """
    shapes = _model()["hour_shape_ours_not_published"]
    way = "out" if service == "mobile" else _WAYS[direction]
    return tuple(shapes[f"{_SERVICES[service]}_{way}_{SHAPES[weekend]}"])


@cache
def in_share(service: str) -> float:
    """Uploads' part of the octets of personal users, 2024."""
    return float(_model()["joint_in_out"]["checks"][f"{_SERVICES[service]}/rho0.8"]["in_share_of_volume_pct"]) / 100


@cache
def month_ratios(service: str, direction: int) -> dict[tuple[str, str], float]:
    """Of a service's octets in a month over those in an earlier one, as "2024-06"."""
    ratios = _model()["monthly_level_ratios"][f"{_SERVICES[service]}_{_WAYS[direction].upper()}"]
    return {tuple(pair.split("/")): float(ratio) for pair, ratio in ratios.items()}


@cache
def ipoe_shares(direction: int) -> dict[str, float]:
    """IPoE's part of the octets of fixed lines by month, 0 to 1."""
    told = _model()["monthly_level_ratios"]["ipoe_share_pct"]
    return {month: share[_WAYS[direction].upper()] / 100 for month, share in told.items()}


@cache
def _rows() -> dict[tuple[str, str, int], dict[str, Any]]:
    rows = _model()["daily_volume"]["rows"]
    return {(row["service"], row["dir"], row["year"]): row["mixture"] for row in rows}


@cache
def _model() -> dict[str, Any]:
    model: dict[str, Any] = json.loads(MODEL.read_text(encoding="utf-8"))
    return model
