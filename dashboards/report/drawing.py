"""A figure as SVG and PNG: the same bytes for the same data.

Nothing of matplotlib's state is used but its settings, which are set to its own defaults and then to ours, so that
nobody's ``matplotlibrc`` is seen in a report.  IN is dotted and OUT solid; what is to be told apart differs in its
lightness and the shape of its marks too: reports are printed in grey and read by people who see other colours.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboards.panels.model import BUCKET_COLOURS
from dashboards.report.model import Figure, Line, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 440  # points: text of 11.5 is 9.4 px on a telephone of 390 px, 15.5 px on a desk
_PLOT_HEIGHT, _SQUARE_HEIGHT, _LEGEND_ROW = 220, 390, 19
_LEGEND_SIZE, _HANDLE = 10.5, 54  # a name's line and the room about it
_DPI = 200
_INK, _GRID, _QUIET = "#222222", "#dedede", "#5a5a5a"
# Okabe and Ito's colours for the colour-blind, without those that are too pale for a line on white.
_KINDS = ("#0072b2", "#d55e00", "#009e73", "#8a5a96", "#1a1a1a", "#b58900", "#56a0d3")
# Years and weeks have an order: from light to dark (cividis without its palest third), the latest the darkest.
_ORDERED = ("#b8a95c", "#908d74", "#737475", "#565c6c", "#33476b", "#00204d")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_MARKED_POINTS = 9
_DATED = re.compile(r"\d{4}\b")
_SETTINGS: Any = {
    "font.size": 11.5, "font.family": "DejaVu Sans", "axes.titlesize": 11.5, "axes.labelsize": 11,
    "xtick.labelsize": 10, "ytick.labelsize": 10, "legend.fontsize": _LEGEND_SIZE, "text.color": _INK,
    "axes.labelcolor": _INK, "axes.edgecolor": _QUIET,
    "xtick.color": _QUIET, "ytick.color": _QUIET, "xtick.labelcolor": _INK, "ytick.labelcolor": _INK,
    "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": _GRID,
    "grid.linewidth": 0.7, "axes.axisbelow": True, "lines.linewidth": 1.7, "lines.solid_capstyle": "round",
    "lines.dotted_pattern": (1.0, 1.6), "lines.dash_capstyle": "round", "legend.frameon": False,
    "figure.facecolor": "white", "savefig.facecolor": "white", "svg.hashsalt": "flowtide", "svg.fonttype": "path",
    "path.simplify": True,
}  # fmt: skip


def draw(figure: Figure) -> tuple[bytes, bytes]:
    """SVG and PNG of a figure; ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    vector, raster = io.BytesIO(), io.BytesIO()
    with _settings():
        drawn = _drawn(figure)
        FigureCanvasSVG(drawn).print_figure(
            vector, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        FigureCanvasAgg(drawn).print_figure(raster, format="png", dpi=_DPI, metadata={"Software": None})
    return _own_names(vector.getvalue().decode(), figure.id).encode(), raster.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def _drawn(figure: Figure) -> Any:
    """Matplotlib's figure."""
    from matplotlib.figure import Figure as Drawing
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    plots = figure.plots or (Plot((), "", ""),)
    lines = [line for plot in plots for line in plot.lines]
    styles = _Styles(lines)
    told = _told(plots)
    columns = _columns(told, pairs=len({line.dotted for line in lines}) > 1)
    rows = -(-len(told) // columns) if len(told) > 1 else 0
    height = sum(_SQUARE_HEIGHT if plot.diagonal and plot.lines else _PLOT_HEIGHT for plot in plots)
    layout = ConstrainedLayoutEngine(h_pad=6 / 72, w_pad=5 / 72, hspace=0.06)
    drawing = Drawing(figsize=(WIDTH / 72, (height + rows * _LEGEND_ROW) / 72), layout=layout)
    handles: dict[str, Any] = {}
    for axes, plot in zip(drawing.subplots(len(plots), 1, squeeze=False)[:, 0], plots, strict=True):
        if any(np.isfinite(line.y).any() for line in plot.lines):
            handles |= _plot(axes, plot, styles)
        else:
            _nothing(axes, figure, plot)
    if len(handles) > 1:
        names = _by_rows([name for name in told if name in handles], columns)
        drawing.legend([handles[name] for name in names], names, loc="outside upper left", ncols=columns,
                       handlelength=2.6, columnspacing=1.6, borderaxespad=0.2)  # fmt: skip
    return drawing


def _columns(names: Sequence[str], *, pairs: bool) -> int:
    """How many names stand beside each other; IN and OUT of a week stay in one row."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans", size=_LEGEND_SIZE)
    widths = {name: TextPath((0, 0), name, prop=font).get_extents().width for name in names}
    for columns in range(len(names), 1, -1):
        beside = zip_longest(*(names[at : at + columns] for at in range(0, len(names), columns)))
        wide = sum(max(widths[name] for name in column if name is not None) + _HANDLE for column in beside)
        if wide <= WIDTH and not (pairs and columns % 2):
            return columns
    return 1


def _told(plots: Sequence[Plot]) -> list[str]:
    """Names of the legend in order, those of a hue beside each other, the uppermost of a stack first."""
    hues: dict[int, dict[str, None]] = {}
    for plot in plots:
        for line in reversed(plot.lines) if plot.kind == "stacked" else plot.lines:
            hues.setdefault(line.hue, {})[line.name] = None
    return list(dict.fromkeys(name for names in hues.values() for name in names))


def _by_rows(names: list[str], columns: int) -> list[str]:
    """In the order in which a legend that fills its columns reads by rows."""
    rows = -(-len(names) // columns)
    full = len(names) - (rows - 1) * columns  # columns with an entry in the last row
    order = []
    for column in range(columns):
        order += [names[row * columns + column] for row in range(rows if column < full else rows - 1)]
    return order


class _Styles:
    """Which colour and mark a line of a figure has."""

    def __init__(self, lines: Sequence[Line]) -> None:
        hues = sorted({line.hue for line in lines})
        self._rank = {hue: number for number, hue in enumerate(hues)}
        self._ordered = len(hues) > 2 and all(_DATED.match(line.name) for line in lines)
        self._marked = len(hues) > 1

    def colour(self, line: Line) -> str:
        bucket = re.sub(r"[\s/]+", "/", line.name.casefold().replace("≥", ">=").replace(">= ", ">=").replace("< ", "<"))
        if bucket in BUCKET_COLOURS:
            return BUCKET_COLOURS[bucket]
        rank = self._rank[line.hue]
        if self._ordered:
            last = max(len(self._rank) - 1, 1)
            return _ORDERED[round(rank / last * (len(_ORDERED) - 1))]
        return _KINDS[rank % len(_KINDS)]

    def mark(self, line: Line) -> dict[str, Any]:
        """Few and hollow: a curve stays a curve."""
        points = int(np.isfinite(line.y).sum())
        if not self._marked or points < 2:
            return {"marker": "o", "markersize": 3.5} if points == 1 else {}
        rank = self._rank[line.hue]
        step = max(1, len(line.y) // _MARKED_POINTS)
        return {"marker": _MARKS[rank % len(_MARKS)], "markersize": 4.6, "markerfacecolor": "white",
                "markeredgewidth": 1.1, "markevery": (rank * step // max(len(self._rank), 1), step)}  # fmt: skip


def _plot(axes: "Axes", plot: Plot, styles: _Styles) -> dict[str, Any]:
    """Draw a plot; the handles of its legend by name."""
    axes.set_xlabel(plot.x_label)
    _headed(axes, plot)
    # What is measured stands level above the axis: turned by a quarter it is hard to read, and long ones do not fit.
    axes.set_title(plot.y_label, loc="right" if plot.title else "left", fontsize=10.5, color=_QUIET)
    draw_lines = {"lines": _lines, "stacked": _stacked, "points": _points}[plot.kind]
    handles = draw_lines(axes, plot, styles)
    if plot.log_x:
        _log(axes, "x", plot)
    if plot.log_y:
        _log(axes, "y", plot)
    elif plot.y_from_zero and plot.kind != "points":
        axes.set_ylim(bottom=0)
    if plot.diagonal:
        _diagonal(axes)
    if plot.x_ticks:
        axes.set_xticks([at for at, _ in plot.x_ticks], [text for _, text in plot.x_ticks])
        axes.xaxis.minorticks_off()
    if not plot.log_x:
        ends = [at for at, _ in plot.x_ticks] + [
            float(end) for line in plot.lines for end in (line.x.min(), line.x.max())
        ]
        edge = (max(ends) - min(ends)) * 0.012
        axes.set_xlim(min(ends) - edge, max(ends) + edge)
    return handles


def _headed(axes: "Axes", plot: Plot) -> None:
    if plot.title:
        axes.set_title(plot.title, loc="left", fontweight="bold")


def _lines(axes: "Axes", plot: Plot, styles: _Styles) -> dict[str, Any]:
    return {
        line.name: axes.plot(
            line.x, line.y, color=styles.colour(line), linestyle=":" if line.dotted else "-", **styles.mark(line)
        )[0]
        for line in plot.lines
    }


def _stacked(axes: "Axes", plot: Plot, styles: _Styles) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    below = np.zeros(len(plot.lines[0].y))
    for line in plot.lines:
        above = below + line.y  # NaN stays NaN: a gap in one is a gap in all above
        # The white edge parts neighbours that are alike in grey.
        handles[line.name] = axes.fill_between(
            line.x, below, above, where=np.isfinite(above).tolist(), facecolor=styles.colour(line), edgecolor="white",
            linewidth=0.5,
        )  # fmt: skip
        below = above
    return handles


def _points(axes: "Axes", plot: Plot, styles: _Styles) -> dict[str, Any]:
    # As pixels also in the SVG: thousands of marks would be half a megabyte each figure.
    return {
        line.name: axes.plot(line.x, line.y, linestyle="", marker="o", markersize=2.1, markeredgewidth=0, alpha=0.4,
                             color=styles.colour(line), rasterized=True)[0]
        for line in plot.lines
    }  # fmt: skip


def _log(axes: "Axes", which: str, plot: Plot) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    seen = [getattr(line, which) for line in plot.lines]
    values = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in seen] or [np.ones(1)])
    low, high = float(values.min()), float(values.max())
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(10, numticks=20))
    axis.set_minor_formatter(NullFormatter())
    words = bytes_words if high >= 1_000 else plain_words
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))
    getattr(axes, f"set_{which}lim")(low / 1.15, high * 1.15)


def _diagonal(axes: "Axes") -> None:
    """Both axes alike, and the line of users that send as much as they receive."""
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_box_aspect(1)
    axes.plot([low, high], [low, high], color=_QUIET, linewidth=1, linestyle="--", zorder=1)


def _nothing(axes: "Axes", figure: Figure, plot: Plot) -> None:
    """Words where an empty axis would look like a measurement of nothing."""
    import textwrap

    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=_GRID)
    _headed(axes, plot)
    said = "; ".join(figure.missing) or "nothing was measured"
    text = "\n".join(textwrap.wrap(f"no data: {said}", 46))
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=_QUIET)


def bytes_words(value: float) -> str:
    """Bytes in the words of the source report: 10**4 is 10 KB."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if value >= size * 0.999:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"


def plain_words(value: float) -> str:
    """A number without an exponent where that is short."""
    return f"{value:g}"


_NAME = re.compile(r'\s(?:id)="([^"]+)"')


def _own_names(svg: str, prefix: str) -> str:
    """Names of parts that nothing refers to go, the others get the figure's: a page holds several figures."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = _NAME.sub(lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
