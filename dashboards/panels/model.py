"""What a dashboard is made of, in Grafana's classic form: the keys that 9.4 and 12 both read.

Each class writes itself as JSON.  Ids of panels are given, not counted: links and alert rules name them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dashboards.library import ALL, DATA_SOURCE

Json = dict[str, Any]
Unit = Literal[
    "bps", "percentunit", "short", "s", "ms", "decbytes", "none", "locale", "dateTimeFromNow", "string",
    "suffix:flows/s",
]  # fmt: skip
SCHEMA_VERSION = 38
PLUGIN_VERSION = "4.0.8"  # of the data source: later ones leave such a query as it is
COLUMNS = 24  # a dashboard's width
ANY = "'*'"  # what a variable says for All

GREEN, YELLOW, RED, BLUE = "#3d9a50", "#e0a200", "#e02f44", "#3274d9"
BUCKET_COLOURS = {
    "udp/443": "#ff8c1a", "tcp/443": "#3274d9", "tcp/80": "#8ab8ff", "tcp/<1024": "#5f7fb8", "tcp/>=1024": "#8f6fc4",
    "udp/<1024": "#ffcb7d", "udp/>=1024": "#d9534f", "esp": "#3d9a50", "gre": "#73bf69", "ipip": "#a3d39c",
    "ipv6": "#c8e6c0", "icmp": "#9e9e9e", "icmp6": "#bdbdbd", "other": "#7d7d7d",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """One query; ``series``: its first column is ``time``, texts are labels, numbers values."""

    sql: str
    series: bool = True
    ref: str = "A"

    def json(self) -> Json:
        """As the data source stores it."""
        return {
            "refId": self.ref, "datasource": DATA_SOURCE, "editorType": "sql", "rawSql": self.sql.strip(),
            "queryType": "timeseries" if self.series else "table", "format": 0 if self.series else 1,
            "pluginVersion": PLUGIN_VERSION,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Override:
    """Properties of the fields that a matcher finds: ``byName``, ``byRegexp`` or ``byFrameRefID``."""

    matcher: Literal["byName", "byRegexp", "byFrameRefID"]
    what: str
    properties: Mapping[str, Any]

    def json(self) -> Json:
        """As Grafana stores it."""
        return {"matcher": {"id": self.matcher, "options": self.what},
                "properties": [{"id": name, "value": value} for name, value in self.properties.items()]}  # fmt: skip


BY_BUCKET = tuple(
    Override("byName", name, {"color": {"mode": "fixed", "fixedColor": colour}})
    for name, colour in BUCKET_COLOURS.items()
)
"""The same colour for a bucket everywhere."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What every panel has.  ``description`` says what it means, and what to do when it is red."""

    id: int
    title: str
    description: str
    width: int
    height: int

    kind = ""

    def json(self, x: int, y: int) -> Json:
        """At a place of the grid."""
        return {"id": self.id, "type": self.kind, "title": self.title, "description": self.description,
                "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height}}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row(Panel):
    """A headline over the panels below it."""

    description: str = ""
    width: int = COLUMNS
    height: int = 1
    kind = "row"

    def json(self, x: int, y: int) -> Json:
        """With no panels inside: they follow."""
        return {**Panel.json(self, x, y), "collapsed": False, "panels": []}


@dataclass(frozen=True, slots=True)
class Queried(Panel):
    """A panel that asks the store.  ``interval`` is the bucket of the table it reads: no finer bucket is asked for."""

    targets: Sequence[Target]
    interval: str = "1m"
    unit: Unit = "short"
    decimals: int | None = None
    name: str = ""
    thresholds: Sequence[tuple[float | None, str]] = ()
    no_value: str = "no data"
    low: float | None = None
    high: float | None = None
    overrides: Sequence[Override] = ()

    def json(self, x: int, y: int) -> Json:
        """With targets and the options of its fields."""
        defaults: Json = {"unit": self.unit, "noValue": self.no_value, "color": self.colour(), "mappings": [],
                          "custom": self.custom()}  # fmt: skip
        for key, value in (("decimals", self.decimals), ("min", self.low), ("max", self.high)):
            defaults |= {} if value is None else {key: value}
        defaults |= {"displayName": self.name} if self.name else {}
        steps = self.thresholds or ((None, GREEN),)
        defaults["thresholds"] = {"mode": "absolute", "steps": [{"value": at, "color": hue} for at, hue in steps]}
        return {
            **Panel.json(self, x, y), "datasource": DATA_SOURCE, "interval": self.interval,
            "targets": [target.json() for target in self.targets],
            "fieldConfig": {"defaults": defaults, "overrides": [override.json() for override in self.overrides]},
            "options": self.options(),
        }  # fmt: skip

    def colour(self) -> Json:
        """How a field gets its colour."""
        return {"mode": "palette-classic"}

    def custom(self) -> Json:
        """Options of this kind of panel for each field."""
        return {}

    def options(self) -> Json:
        """Options of this kind of panel."""
        return {}


@dataclass(frozen=True, slots=True)
class Series(Queried):
    """Lines or stacked areas over time, with a legend of the last, mean and largest value."""

    stacked: bool = False
    label: str = ""
    kind = "timeseries"

    def custom(self) -> Json:
        """Steps of nothing between two values stay gaps: ``spanNulls`` is off."""
        stacking = {"mode": "normal" if self.stacked else "none", "group": "A"}
        return {
            "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 0 if self.stacked else 2,
            "fillOpacity": 80 if self.stacked else 0, "spanNulls": False, "showPoints": "never",
            "stacking": stacking, "axisLabel": self.label, "axisPlacement": "auto",
        }  # fmt: skip

    def options(self) -> Json:
        """Legend and tooltip."""
        return {
            "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True,
                       "calcs": ["lastNotNull", "mean", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stat(Queried):
    """One figure: the last of a series, or of a table."""

    spark: bool = False
    kind = "stat"

    def colour(self) -> Json:
        """By its thresholds."""
        return {"mode": "thresholds"}

    def options(self) -> Json:
        """The figure is coloured, not the ground it stands on."""
        return {
            "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""}, "orientation": "auto",
            "textMode": "auto", "colorMode": "value", "graphMode": "area" if self.spark else "none",
            "justifyMode": "auto",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table(Queried):
    """Rows and columns; each column says its unit by an override."""

    sort: str = ""
    filterable: bool = False
    kind = "table"

    def colour(self) -> Json:
        """By its thresholds, where a column says so."""
        return {"mode": "thresholds"}

    def custom(self) -> Json:
        """Plain cells."""
        return {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": self.filterable}

    def options(self) -> Json:
        """Header, order."""
        order = [{"displayName": self.sort, "desc": True}] if self.sort else []
        return {"showHeader": True, "cellHeight": "sm", "sortBy": order, "footer": {"show": False}}


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the panels: of what a query finds (``query``), or of the given values and their texts."""

    name: str
    label: str
    query: str = ""
    values: Sequence[tuple[str, str]] = ()
    several: bool = False
    current: str = ALL

    def json(self) -> Json:
        """As Grafana stores it; All stands for no condition at all."""
        text = "All" if self.current == ALL else dict(self.values).get(self.current, self.current)
        chosen: Json = (
            {"text": [text], "value": [self.current]} if self.several else {"text": text, "value": self.current}
        )
        found: Json = {
            "name": self.name, "label": self.label, "type": "query" if self.query else "custom", "hide": 0,
            "multi": self.several, "includeAll": self.current == ALL, "current": {"selected": True, **chosen},
            "skipUrlSync": False,
        }  # fmt: skip
        if self.current == ALL:
            found["allValue"] = ANY
        if self.query:
            return {
                **found, "datasource": DATA_SOURCE, "query": self.query.strip(), "definition": self.query.strip(),
                "refresh": 2, "regex": "", "sort": 0, "options": [],
            }  # fmt: skip
        options = [{"text": label, "value": value, "selected": value == self.current} for value, label in self.values]
        if self.current == ALL:
            options.insert(0, {"text": "All", "value": ALL, "selected": True})
        # Grafana reads the values of a custom variable from this text, and a comma parts them.
        return {**found, "query": ",".join(f"{label} : {value}" for value, label in self.values), "options": options}


@dataclass(frozen=True, slots=True)
class Annotation:
    """What happened, drawn over time in all charts: rows of time, timeEnd, title, text and tags (with commas)."""

    name: str
    sql: str
    colour: str = RED

    def json(self) -> Json:
        """As Grafana stores it; the columns have the names that it looks for."""
        return {"name": self.name, "enable": True, "hide": False, "iconColor": self.colour, "datasource": DATA_SOURCE,
                "target": Target(self.sql, series=False, ref="Anno").json()}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A screen: lines of panels, from the top."""

    uid: str
    title: str
    description: str
    since: str
    refresh: str
    variables: Sequence[Variable]
    lines: Sequence[Sequence[Panel]]
    tags: Sequence[str] = field(default=("flowtide",))
    annotations: Sequence[Annotation] = ()

    def json(self) -> Json:
        """The file; ValueError when a line is wider than the screen."""
        return {
            "uid": self.uid, "title": self.title, "description": self.description, "tags": list(self.tags),
            "timezone": "browser", "editable": True, "graphTooltip": 1, "refresh": self.refresh,
            "time": {"from": self.since, "to": "now"}, "schemaVersion": SCHEMA_VERSION, "version": 1,
            "annotations": {"list": [one.json() for one in self.annotations]}, "links": [],
            "templating": {"list": [variable.json() for variable in self.variables]},
            "panels": list(self._placed()),
        }  # fmt: skip

    def _placed(self) -> Iterable[Json]:
        y = 0
        for line in self.lines:
            x = 0
            for panel in line:
                if x + panel.width > COLUMNS:
                    raise ValueError(f"dashboard {self.uid}: the line of {line[0].title!r} is wider than {COLUMNS}")
                yield panel.json(x, y)
                x += panel.width
            y += max(panel.height for panel in line)
