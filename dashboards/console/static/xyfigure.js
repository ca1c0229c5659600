// Charts over a number -> series, scales, and the traces and the layout that plotly draws.  Values in, values out; the
// page is xychart.js's.  plotly is given parts of the plot's width and height, so that its places are ours.

import { faded } from "./colors.js";
import { configured, seriesColor } from "./fields.js";
import { columnsOf } from "./frames.js";
import { tickTexts, valueScale } from "./ticks.js";
import { format } from "./units.js";

const LETTER = 0.56; // width of a digit in the fonts of the page, of its height
const FAINT = 400; // points; more of them lie upon each other, and are drawn fainter

/**
 * @typedef {{name: string, xs: number[], values: (number|null)[], color: string, dashed: boolean, points: boolean,
 *   config: Record<string, any>, xConfig: Record<string, any>, notes: string[]}} XYLine
 * @typedef {{log: boolean, from: number, to: number, values: number[], texts: string[]}} Scale
 */

/** The first column named in the panel, and every other number over it; texts are what a point is called. */
export function xyLines(panel, frames, theme) {
  const { x = "", frame: place = 0 } = panel.options?.dims ?? {};
  const frame = frames[place];
  if (!frame?.rows.length) return [];
  const fields = columnsOf(frame);
  const configs = configured(panel, fields);
  const at = Math.max(0, fields.findIndex(({ name }) => name === x));
  const told = fields.filter(({ kind }, other) => kind === "text" && other !== at);
  const notes = frame.rows.map((_, row) => told.map(({ values }) => values[row]).join(", "));
  const numbers = fields.flatMap(({ kind }, other) => (kind === "number" && other !== at ? [other] : []));
  return numbers.map((other, index) => {
    const config = configs[other];
    return { name: config.displayName, xs: fields[at].values, values: fields[other].values, config, xConfig: configs[at], notes,
      color: seriesColor({ ...config, index }, theme), dashed: config.custom.lineStyle?.fill === "dash",
      points: config.custom.show === "points" };
  }).filter(({ config }) => !config.custom.hideFrom?.viz);
}

const isLog = (config) => config?.custom?.scaleDistribution?.type === "log";

/** Whether a point can be drawn: on a logarithmic scale nothing is not at 0. */
function drawn(line, at) {
  const [x, y] = [line.xs[at], line.values[at]];
  return typeof x === "number" && typeof y === "number" && (!isLog(line.xConfig) || x > 0) && (!isLog(line.config) || y > 0);
}

/** Indexes of a line's points that can be drawn. */
export function pointsOf(line) {
  return line.xs.flatMap((_, at) => (drawn(line, at) ? [at] : []));
}

/**
 * A scale over values; `loose` leaves a little room at its ends.
 * @returns {Scale}
 */
export function scaleOf(values, config, count, loose) {
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  return isLog(config) ? logScale(low, high, config, count, loose) : linearScale(low, high, config, count, loose);
}

function linearScale(low, high, config, count, loose) {
  const hard = { min: config.min, max: config.max };
  const scale = valueScale(low, high, config.unit, count, hard);
  const pad = loose ? (high - low || 1) * 0.03 : 0;
  const from = loose ? hard.min ?? low - pad : scale.from;
  const to = loose ? hard.max ?? high + pad : scale.to;
  const ticks = scale.values.filter((value) => value >= from && value <= to);
  return { log: false, from, to, values: ticks, texts: tickTexts(ticks, config.unit) };
}

function logScale(low, high, config, count, loose) {
  if (!(low > 0)) [low, high] = [1, 10];
  const pad = loose ? 10 ** 0.08 : 1;
  const [from, to] = low === high ? [low / 10, high * 10] : [low / pad, high * pad];
  const [first, last] = [Math.ceil(Math.log10(from) - 1e-9), Math.floor(Math.log10(to) + 1e-9)];
  const decades = Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => 10 ** (first + at));
  // Within few decades also 2 and 5 of each, or there would be hardly a mark.
  const marks = decades.length > 3 ? decades
    : [first - 1, ...decades.map((_, at) => first + at)].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
  const step = Math.max(1, Math.ceil(marks.length / Math.max(1, count)));
  const values = marks.filter((value, at) => at % step === 0 && value >= from * 0.999 && value <= to * 1.001);
  return { log: true, from, to, values, texts: values.map((value) => format(Number(value.toPrecision(6)), config.unit)) };
}

/** Where a value lies between the ends of its scale, 0 to 1. */
export function partOf(value, { log, from, to }) {
  return log ? (Math.log10(value) - Math.log10(from)) / (Math.log10(to) - Math.log10(from)) : (value - from) / (to - from);
}

/** The index of the point nearest to a place of the plot (parts of its width and height), with its line; null without. */
export function nearestPoint(lines, scales, [x, y], [width, height]) {
  let [found, least] = [null, Infinity];
  for (const line of lines) {
    for (const at of pointsOf(line)) {
      // Of a line every place between two points belongs to the nearer: only how far it is across counts.
      const across = (partOf(line.xs[at], scales.x) - x) * width;
      const up = line.points ? (partOf(line.values[at], scales.y) - y) * height : 0;
      const distance = across * across + up * up;
      if (distance < least) [found, least] = [{ line, at }, distance];
    }
  }
  return found;
}

/** What is told of a point: its line alone of points, of lines all at the same x. */
export function rowsAt(lines, { line, at }) {
  const there = line.points ? [line] : lines.filter((one) => typeof one.values[at] === "number");
  return there.map(({ name, color, values, config }) => ({ name, color, value: values[at],
    text: format(values[at], config.unit, config.decimals) }));
}

/**
 * @param {XYLine[]} lines
 * @param {{width: number, height: number, font: number, ink: string, grid: string}} frame
 */
export function xyFigure(lines, frame) {
  const seen = lines.map((line) => [line, pointsOf(line)]);
  const points = lines.some((line) => line.points);
  const { config } = lines[0];
  const across = lines[0].xConfig;
  const bottom = Math.round(frame.font * (across.custom.axisLabel ? 3.6 : 2.1));
  const room = { t: Math.round(frame.font * 0.8), b: bottom, l: 8, r: Math.round(frame.font * 1.6) };
  const rows = Math.max(2, Math.min(8, Math.floor((frame.height - room.t - bottom) / (frame.font * 3.2))));
  const y = scaleOf(seen.flatMap(([line, there]) => there.map((at) => line.values[at])), config, rows, isLog(config));
  const widest = Math.max(0, ...y.texts.map((text) => text.length)) * frame.font * LETTER;
  room.l = Math.ceil(widest + 10 + (config.custom.axisLabel ? frame.font * 1.6 : 0));
  const columns = Math.max(2, Math.floor((frame.width - room.l - room.r) / (frame.font * 5)));
  const xs = seen.flatMap(([line, there]) => there.map((at) => line.xs[at]));
  const x = scaleOf(xs, points || isLog(across) ? across : { ...across, ...endsOf(xs) }, columns, points);
  const scales = { x, y };
  const layout = {
    width: frame.width, height: frame.height, margin: { ...room, pad: 0 }, showlegend: false, hovermode: false, dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "inherit", size: frame.font, color: frame.ink },
    xaxis: axisLayout(x, across.custom.axisLabel, frame), yaxis: axisLayout(y, config.custom.axisLabel, frame),
  };
  return { data: seen.map(([line, there]) => trace(line, there, scales)), layout, room, scales };
}

/** Lines go from the first point to the last, without room beside them. */
function endsOf(xs) {
  const [min, max] = [xs.reduce((a, b) => Math.min(a, b), Infinity), xs.reduce((a, b) => Math.max(a, b), -Infinity)];
  return max > min ? { min, max } : { min: min - 1, max: max + 1 };
}

function axisLayout(scale, label, frame) {
  const inside = scale.values.map((value, at) => [partOf(value, scale), scale.texts[at]])
    .filter(([part]) => part > -0.001 && part < 1.001);
  return { zeroline: false, fixedrange: true, linecolor: frame.grid, tickfont: { size: frame.font, color: frame.ink }, type: "linear",
    range: [0, 1], tickvals: inside.map(([part]) => part), ticktext: inside.map(([, text]) => escaped(text)), ticks: "", tickangle: 0,
    showgrid: true, gridcolor: faded(frame.grid, 0.7), ticklabelstandoff: 4,
    ...(label ? { title: { text: escaped(label), font: { size: frame.font, color: frame.ink }, standoff: 6 } } : {}) };
}

/** plotly reads a little markup in texts; ours are texts. */
function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function trace(line, there, { x, y }) {
  const { lineWidth = 2, pointSize } = line.config.custom;
  const shown = new Set(there);
  // Of a line, what is missing between two points parts it.
  const all = line.points ? there : line.xs.map((_, at) => at);
  const placed = (values, scale) => all.map((at) => (shown.has(at) ? partOf(values[at], scale) : null));
  return { type: "scatter", hoverinfo: "skip", x: placed(line.xs, x), y: placed(line.values, y), connectgaps: false,
    ...(line.points
      ? { mode: "markers", marker: { size: pointSize?.fixed ?? 5, color: faded(line.color, there.length > FAINT ? 0.45 : 0.9), line: { width: 0 } } }
      : { mode: there.length > 1 ? "lines" : "markers", line: { width: lineWidth, color: line.color, dash: line.dashed ? "6px,4px" : "solid" },
          marker: { size: 5, color: line.color } }) };
}
