// Lines -> the traces and the layout that plotly draws.  Values in, values out; the page is chart.js's.

import { faded, readable } from "./colors.js";
import { bandsOf, edge, lonely, outline, stackOf } from "./lines.js";
import { markShapes } from "./marks.js";
import { tickTexts, timeScale, valueScale } from "./ticks.js";

const LETTER = 0.56; // width of a digit in the fonts of the page, of its height
const DASHES = { dash: "8px,6px", dot: "2px,4px", square: "2px,4px" };

/** @typedef {import("./lines.js").Line} Line */

/**
 * @param {Line[]} lines
 * @param {{from: number, to: number, width: number, height: number, font: number, ink: string, grid: string,
 *   ground: string, marks?: import("./marks.js").Mark[]}} frame
 */
export function figure(lines, frame) {
  const bands = bandsOf(lines);
  const sides = { y: bands.filter(({ line }) => !isRight(line)), y2: bands.filter(({ line }) => isRight(line)) };
  const bottom = Math.round(frame.font * 2.1);
  const room = { t: Math.round(frame.font * 0.7), b: bottom, l: 8, r: 12 };
  const count = Math.max(2, Math.min(8, Math.floor((frame.height - room.t - bottom) / (frame.font * 3.2))));
  const axes = {};
  for (const [name, members] of Object.entries(sides)) {
    if (!members.length && name === "y2") continue;
    const axis = valueAxis(members, count, frame);
    const widest = Math.max(0, ...axis.ticktext.map((text) => text.length)) * frame.font * LETTER;
    const side = name === "y" ? "l" : "r";
    const label = axis.label ? frame.font * 1.5 : 0;
    if (!axis.hidden) room[side] = Math.max(room[side], Math.ceil(widest + 10 + label));
    axes[name] = axis;
  }
  const marks = Math.max(2, Math.floor((frame.width - room.l - room.r) / (frame.font * 4.8)));
  const time = timeScale(frame.from, frame.to, marks);
  const bare = { zeroline: false, fixedrange: true, linecolor: frame.grid, tickfont: { size: frame.font, color: frame.ink } };
  const layout = {
    width: frame.width, height: frame.height, margin: { ...room, pad: 0 }, showlegend: false, hovermode: false,
    dragmode: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", barmode: barMode(lines),
    bargap: 0.15, font: { family: "inherit", size: frame.font, color: frame.ink },
    xaxis: { ...bare, type: "linear", range: [frame.from, frame.to], tickvals: time.values, ticktext: time.texts,
      showgrid: true, gridcolor: faded(frame.grid, 0.5), ticks: "", tickangle: 0,
      ticklabelstandoff: 4 },
    shapes: [...markShapes(frame.marks ?? [], frame), ...thresholdLines(lines, axes.y, frame)],
  };
  for (const [name, axis] of Object.entries(axes)) {
    layout[name === "y" ? "yaxis" : "yaxis2"] = {
      ...bare, range: [axis.from, axis.to], tickvals: axis.tickvals, ticktext: axis.ticktext, gridcolor: frame.grid,
      showgrid: name === "y", showticklabels: !axis.hidden,
      ...(axis.label && !axis.hidden ? { title: { text: escaped(axis.label), font: { size: frame.font, color: frame.ink },
        standoff: 4 } } : {}),
      ...(name === "y2" ? { overlaying: "y", side: "right" } : {}),
    };
  }
  return { data: bands.flatMap((band) => traces(band, frame)), layout, room, axes, bands };
}

const isRight = (line) => line.config.custom?.axisPlacement === "right";
const isBars = (line) => line.config.custom?.drawStyle === "bars";

function barMode(lines) {
  return lines.some((line) => isBars(line) && stackOf(line)) ? "overlay" : "group";
}

function valueAxis(bands, count, frame) {
  let [low, high] = [Infinity, -Infinity];
  for (const { high: values, line, low: base } of bands) {
    for (const value of values) {
      if (typeof value !== "number") continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (stackOf(line) || isBars(line) || (line.config.custom?.fillOpacity ?? 0) > 0) {
      for (const value of base) if (typeof value === "number") low = Math.min(low, value);
    }
  }
  const config = bands[0]?.line.config ?? {};
  const { axisSoftMin, axisSoftMax, axisLabel, axisPlacement } = config.custom ?? {};
  if (typeof axisSoftMin === "number") low = Math.min(low, axisSoftMin);
  if (typeof axisSoftMax === "number") high = Math.max(high, axisSoftMax);
  const percent = bands.some(({ line }) => line.config.custom?.stacking?.mode === "percent");
  if (percent) [low, high] = [0, 1];
  const ends = bands.map(({ line }) => line.config);
  const hard = { min: ends.map((one) => one.min).find((end) => typeof end === "number"),
    max: ends.map((one) => one.max).find((end) => typeof end === "number") };
  const scale = valueScale(low, high, percent ? "percentunit" : config.unit, count, hard);
  return { ...scale, tickvals: scale.values, hidden: axisPlacement === "hidden", label: axisLabel,
    ticktext: tickTexts(scale.values, percent ? "percentunit" : config.unit).map(escaped), font: frame.font };
}

/** plotly reads a little markup in texts; ours are texts. */
function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function traces(band, frame) {
  const { line } = band;
  const custom = line.config.custom ?? {};
  const shared = { type: "scatter", hoverinfo: "skip", ...(isRight(line) ? { yaxis: "y2" } : {}) };
  if (isBars(line)) return [bars(band, shared)];
  const made = [];
  const fill = custom.fillOpacity ?? 0;
  if (fill > 0) {
    const [x, y] = outline(band, custom.lineInterpolation);
    made.push({ ...shared, x, y, mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: faded(line.color, fill / 100) });
  }
  const width = custom.lineWidth ?? 1;
  if (width > 0) {
    const span = custom.spanNulls === true;
    const [x, y] = edge(band, custom.lineInterpolation, span);
    made.push({ ...shared, x, y, mode: "lines", connectgaps: false,
      line: { width: Math.max(width, 1.25), color: line.color, dash: dashOf(custom.lineStyle) } });
    const alone = span ? [] : lonely(band);
    if (alone.length) {
      made.push({ ...shared, x: alone.map((at) => band.times[at]), y: alone.map((at) => band.high[at]), mode: "markers",
        marker: { size: 4 + width, color: line.color } });
    }
  }
  return made;
}

function bars(band, shared) {
  const { line } = band;
  const opacity = Math.max(0.25, (line.config.custom?.fillOpacity ?? 80) / 100);
  const height = band.high.map((value, at) => (typeof value === "number" ? value - (band.low[at] ?? 0) : null));
  return { ...shared, type: "bar", x: band.times, y: height, base: band.low.map((value) => value ?? 0),
    marker: { color: faded(line.color, opacity), line: { width: 0 } },
    ...(stackOf(line) ? { width: line.interval * 0.85 } : {}) };
}

function dashOf(style) {
  if (!style || style.fill === "solid" || !style.fill) return "solid";
  return style.dash?.length ? style.dash.map((length) => `${length}px`).join(",") : DASHES[style.fill] ?? "solid";
}

function thresholdLines(lines, axis, frame) {
  const config = lines[0]?.config;
  const mode = config?.custom?.thresholdsStyle?.mode ?? "off";
  if (mode === "off" || !axis) return [];
  return (config.thresholds?.steps ?? [])
    .filter(({ value }) => typeof value === "number" && value >= axis.from && value <= axis.to)
    .map(({ value, color }) => ({ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: value, y1: value,
      line: { width: 1, dash: "6px,4px", color: readable(frame.colorOf(color), frame.ground, 3) } }));
}
