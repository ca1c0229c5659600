// What is drawn inside a panel, by its type.

import { Chart } from "./chart.js";
import { el, fill } from "./dom.js";
import { configured, seriesColor } from "./fields.js";
import { seriesOf } from "./frames.js";
import { drawLegend } from "./legend.js";
import { drawStat } from "./stat.js";
import { drawTable } from "./table.js";
import { XYChart } from "./xychart.js";
import { pointsOf, xyLines } from "./xyfigure.js";

const NOTHING = "No data in this time range";

/**
 * The lines of a chart.
 * @returns {import("./lines.js").Line[]}
 */
export function linesOf(panel, frames, theme) {
  const intervals = new Map(frames.map((frame) => [frame.ref, frame.interval_ms]));
  const fields = frames.flatMap(seriesOf);
  // Last week's line has the colour of this week's: the same labels, another query, dashed.
  const firsts = new Map();
  const places = fields.map(({ name, labels }) => {
    const key = JSON.stringify([name, labels]);
    if (!firsts.has(key)) firsts.set(key, firsts.size);
    return firsts.get(key);
  });
  return configured(panel, fields).map((config, at) => ({
    name: config.displayName, times: fields[at].times, values: fields[at].values, config,
    color: seriesColor({ ...config, index: places[at] }, theme), dashed: config.custom.lineStyle?.fill === "dash",
    interval: intervals.get(fields[at].ref) || spacing(fields[at].times),
  })).filter(({ config }) => !config.custom.hideFrom?.viz);
}

function spacing(times) {
  return times.slice(1).reduce((least, when, at) => Math.min(least, when - times[at]), 86_400_000);
}

/** The body of a panel: `draw(frames, range)` is false when there was nothing to draw. */
export function bodyOf(panel) {
  const { definition, board } = panel;
  const nothing = () => {
    panel.empty(definition.fieldConfig?.defaults?.noValue || NOTHING);
    return false;
  };
  if (definition.type === "stat") {
    return { draw: (frames) => drawStat(panel.place, definition, frames, board.theme) || nothing() };
  }
  if (definition.type === "table") {
    const kept = {};
    return { draw: (frames) => drawTable(panel.place, definition, frames, board.theme, kept) || nothing() };
  }
  if (definition.type === "xychart") return new XYBody(panel, nothing);
  return definition.type === "timeseries" ? new ChartBody(panel, nothing) : { draw: () => true };
}

/** A chart with its legend, by which series are hidden. */
class Drawing {
  constructor(panel, nothing, chart) {
    this.panel = panel;
    this.nothing = nothing;
    this.hidden = new Set();
    this.chart = chart;
    const { placement = "bottom", showLegend = true } = panel.definition.options?.legend ?? {};
    this.legend = el("div", { class: `legend ${placement}`, tabindex: "-1" });
    this.node = el("div", { class: `with-legend ${placement}` }, this.chart.node, showLegend ? this.legend : null);
  }

  /** The lines that are not hidden, with the legend of all; null when there is nothing to draw. */
  shown(lines, isThere, again) {
    const { definition, place } = this.panel;
    if (!lines.some(isThere)) {
      this.chart.lines = [];
      this.nothing();
      return null;
    }
    if (this.node.parentNode !== place) fill(place, this.node);
    drawLegend(this.legend, lines, definition.options?.legend ?? {}, this.hidden, (hidden) => {
      this.hidden = hidden;
      again();
    });
    return lines.filter(({ name }) => !this.hidden.has(name));
  }

  mark(when) {
    this.chart.mark(when);
  }

  close() {
    this.chart.close();
  }
}

class ChartBody extends Drawing {
  constructor(panel, nothing) {
    const { board, definition } = panel;
    super(panel, nothing, new Chart(definition.title ?? "chart", {
      zoom: (from, to) => board.zoomTo(from, to), zoomOut: () => board.zoomOut(),
      hover: (when) => board.hover(when),
    }));
  }

  async draw(frames, range) {
    const { definition, board } = this.panel;
    const shown = this.shown(linesOf(definition, frames, board.theme),
      ({ values }) => values.some((value) => typeof value === "number"), () => this.draw(frames, range));
    if (shown) await this.chart.draw(shown, range, definition.options?.tooltip?.sort, board.marks);
    return shown !== null;
  }
}

class XYBody extends Drawing {
  constructor(panel, nothing) {
    super(panel, nothing, new XYChart(panel.definition.title ?? "chart"));
  }

  async draw(frames) {
    const { definition, board } = this.panel;
    // A week or direction of which nothing is known is no series.
    const lines = xyLines(definition, frames, board.theme).filter((line) => pointsOf(line).length);
    const shown = this.shown(lines, () => true, () => this.draw(frames));
    if (shown) await this.chart.draw(shown);
    return shown !== null;
  }
}
