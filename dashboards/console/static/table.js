// Table panels, and the tables of the SQL page: sorted by a click on a head, cells coloured, never more than can be read.

import { faded, inkOn, readable } from "./colors.js";
import { el, fill } from "./dom.js";
import { configured, shown } from "./fields.js";
import { columnsOf } from "./frames.js";

const MOST = 500; // rows drawn; the file has all

/**
 * @typedef {{name: string, type?: string, kind: string, values: any[], config: Record<string, any>}} Col
 */

/** Rows of sorted indexes; nothing (null) comes last in either order. */
export function order(values, descending) {
  const indexes = values.map((_, at) => at);
  const blank = (value) => value === null || value === undefined || value === "";
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true }));
  return indexes.sort((one, other) => {
    const [a, b] = [values[one], values[other]];
    if (blank(a) || blank(b)) return Number(blank(a)) - Number(blank(b)) || one - other;
    return (descending ? compare(b, a) : compare(a, b)) || one - other;
  });
}

/** Draw the answer of a table panel; false when it has no row.  `kept` remembers the order that was clicked. */
export function drawTable(body, panel, frames, theme, kept) {
  const frame = frames.find((one) => one.rows.length) ?? frames[0];
  if (!frame?.rows.length) return false;
  const fields = columnsOf(frame);
  const configs = configured(panel, fields);
  const columns = fields.map((field, at) => ({ ...field, name: configs[at].displayName,
    config: { ...configs[at], kind: field.kind } })).filter(({ config }) => config.custom?.hidden !== true);
  const [first] = panel.options?.sortBy ?? [];
  const at = columns.findIndex(({ name }) => name === first?.displayName);
  kept.sort ??= at >= 0 ? { at, descending: !!first.desc } : null;
  drawColumns(body, columns, theme, kept, { header: panel.options?.showHeader !== false, label: panel.title });
  return true;
}

/** Draw columns as a table that can be sorted. */
export function drawColumns(body, columns, theme, kept, { header = true, label = "Table", types = false } = {}) {
  const count = columns[0]?.values.length ?? 0;
  const indexes = kept.sort && columns[kept.sort.at]
    ? order(columns[kept.sort.at].values, kept.sort.descending) : Array.from({ length: count }, (_, at) => at);
  const again = () => drawColumns(body, columns, theme, kept, { header, label, types });
  const extent = extentOf(columns);
  const ground = getComputedStyle(document.documentElement).getPropertyValue("--panel").trim();
  const heads = columns.map((column, at) => headCell(column, at, kept, again, types));
  const rows = indexes.slice(0, MOST).map((row) => el("tr", {}, columns.map((column) => (
    cell(column, column.values[row], theme, extent.get(column), ground)))));
  const old = body.querySelector(".table-scroll");
  const scroll = el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": `${label}, table` },
    el("table", { class: "table" }, header ? el("thead", {}, el("tr", {}, heads)) : null, el("tbody", {}, rows)));
  const place = [old?.scrollTop ?? 0, old?.scrollLeft ?? 0];
  const focused = old?.contains(document.activeElement) ? document.activeElement.dataset.at : undefined;
  fill(body, scroll, count > MOST ? el("p", { class: "note" }, `The first ${MOST} of ${count} rows; the CSV file has all.`) : null);
  [scroll.scrollTop, scroll.scrollLeft] = place;
  if (focused !== undefined) scroll.querySelector(`[data-at="${focused}"]`)?.focus();
}

/** Lowest and highest number of each column's scale; heat cells of a panel share one, so that columns compare. */
function extentOf(columns) {
  const isHeat = ({ config }) => config.color?.mode?.startsWith("continuous-") && modeOf(config) !== "auto";
  const numbers = (some) => some.flatMap(({ values }) => values.filter((value) => typeof value === "number"));
  const heat = numbers(columns.filter(isHeat));
  const ends = (values) => ({ min: values.reduce((a, b) => Math.min(a, b), Infinity),
    max: values.reduce((a, b) => Math.max(a, b), -Infinity) });
  const shared = ends(heat);
  return new Map(columns.map((column) => [column, isHeat(column) ? shared : ends(numbers([column]))]));
}

function modeOf(config) {
  const { cellOptions, displayMode } = config.custom ?? {};
  return cellOptions?.type ?? displayMode ?? "auto";
}

function alignment({ kind, config }) {
  const align = config.custom?.align;
  if (align && align !== "auto") return align;
  return kind === "number" ? "right" : "left";
}

function headCell(column, at, kept, again, types) {
  const sorted = kept.sort?.at === at ? (kept.sort.descending ? "descending" : "ascending") : "none";
  const click = () => {
    // Numbers are asked for by their largest first.
    const numbersFirst = column.kind === "number";
    kept.sort = sorted === "none" ? { at, descending: numbersFirst } : { at, descending: sorted === "ascending" };
    again();
  };
  const width = column.config.custom?.width;
  const arrow = { ascending: "▲", descending: "▼", none: "" }[sorted];
  return el("th", { scope: "col", "aria-sort": sorted, class: alignment(column), style: width ? { width: `${width}px` } : {} },
    el("button", { type: "button", class: "sort", "data-at": at, on: { click } }, column.name,
      arrow ? el("span", { class: "arrow", "aria-hidden": "true" }, arrow) : null),
    types ? el("span", { class: "type" }, column.type) : null);
}

function cell(column, value, theme, extent, ground) {
  const { text, suffix, color } = shown(value, column.config, theme, extent);
  const mode = modeOf(column.config);
  const style = {};
  let inner = text + suffix;
  if (mode.startsWith("color-background") && color) {
    style.background = color;
    style.color = inkOn(color);
  } else if (mode === "color-text" && color) {
    style.color = readable(color, ground);
  } else if (/gauge/.test(mode) && typeof value === "number") {
    inner = gauge(inner, value, column.config, extent, color ?? readable("#5794f2", ground, 3));
  }
  return el("td", { class: alignment(column), style, title: inner.length > 40 ? inner : null }, inner);
}

function gauge(text, value, config, extent, color) {
  const low = config.min ?? Math.min(0, extent.min);
  const high = config.max ?? extent.max;
  const part = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0;
  return el("span", { class: "gauge" }, el("span", { class: "gauge-track" },
    el("span", { class: "gauge-bar", style: { width: `${(part * 100).toFixed(1)}%`, background: faded(color, 0.75) } })),
    el("span", { class: "gauge-text" }, text));
}
