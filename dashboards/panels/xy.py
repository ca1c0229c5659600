"""Charts over a number, in the form of Grafana's panel that is called XY chart."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.panels.model import Json, Override, Queried, Unit


@dataclass(frozen=True, slots=True)
class Axis:
    """Of a chart whose x is no time."""

    label: str
    unit: Unit = "none"
    log: bool = False

    def scale(self) -> Json:
        """As Grafana stores it."""
        return {"type": "log", "log": 10} if self.log else {"type": "linear"}


@dataclass(frozen=True, slots=True, kw_only=True)
class XY(Queried):
    """Lines or points over a number: the first column ``x``, every other number a series; texts are not drawn.

    In the form of 9.4, where the panel was new: later versions, which name the columns by matchers, turn it into theirs
    as long as the file names no version of the panel.
    """

    x: str
    across: Axis
    up: Axis
    points: int = 0
    """Pixels of a point; 0: lines."""
    texts: Sequence[str] = ()
    kind = "xychart"

    def custom(self) -> Json:
        """Of the series, and of the axis that they share."""
        return {
            "show": "points" if self.points else "lines", "lineWidth": 2, "lineStyle": {"fill": "solid"},
            "pointSize": {"fixed": self.points or 2}, "axisPlacement": "auto", "axisLabel": self.up.label,
            "scaleDistribution": self.up.scale(),
        }  # fmt: skip

    def options(self) -> Json:
        """Which column is x; legend and tooltip."""
        return {
            "seriesMapping": "auto", "dims": {"frame": 0, "x": self.x, "exclude": list(self.texts)}, "series": [],
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        }  # fmt: skip

    def json(self, x: int, y: int) -> Json:
        """The axis of x is described where its column is."""
        found = Queried.json(self, x, y)
        properties = {"unit": self.across.unit, "custom.axisLabel": self.across.label,
                      "custom.scaleDistribution": self.across.scale()}  # fmt: skip
        found["fieldConfig"]["overrides"].insert(0, Override("byName", self.x, properties).json())
        return found
