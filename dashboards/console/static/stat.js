// Stat panels: one number or a few, with what it means and its course.

import { contrast, faded, inkOn, meaningOf, readable } from "./colors.js";
import { el, fill, icon, svg } from "./dom.js";
import { configured, patternOf, shown } from "./fields.js";
import { columnsOf, kindOf, reduced, seriesOf } from "./frames.js";

const MOST = 60; // tiles; more cannot be read
const SIGNS = { ok: "check", warning: "warning", alert: "warning" };

/** Numbers of a panel: {name, value, config, course}. */
export function statValues(panel, frames) {
  const { values: each = false, calcs = ["lastNotNull"], fields: wanted = "", limit = 25 } = panel.options?.reduceOptions ?? {};
  const found = frames.flatMap((frame) => {
    const isSeries = frame.columns.some(({ type }) => kindOf(type) === "time") && isTimeSeries(panel, frame.ref);
    return isSeries ? seriesOf(frame) : columnsOf(frame);
  });
  const configs = configured(panel, found);
  const pattern = wanted ? patternOf(wanted) : null;
  const chosen = found.map((field, at) => ({ field, config: configs[at] })).filter(({ field, config }) => (
    pattern ? pattern.test(field.name) || pattern.test(config.displayName) : field.kind === "number"));
  const made = chosen.flatMap(({ field, config }) => {
    const kept = { ...config, kind: field.kind };
    if (each) {
      const names = found.find(({ kind, ref }) => kind === "text" && ref === field.ref);
      return field.values.slice(0, limit).map((value, at) => ({ name: String(names?.values[at] ?? config.displayName), value,
        config: kept, course: null }));
    }
    return [{ name: config.displayName, value: reduced(field.values, calcs[0]), config: kept,
      course: field.times && field.values.length > 1 ? { times: field.times, values: field.values } : null }];
  });
  return made.slice(0, MOST);
}

function isTimeSeries(panel, ref) {
  return (panel.targets ?? []).find((target) => target.refId === ref)?.format !== 1;
}

/** Draw the numbers into the panel's body; false when there are none. */
export function drawStat(body, panel, frames, theme) {
  const values = statValues(panel, frames);
  if (!values.length || values.every(({ value }) => value === null || value === undefined)) {
    if (!values.some(({ config }) => config.mappings?.length)) return false;
  }
  const { textMode = "auto", colorMode = "value", graphMode = "area", orientation = "auto" } = panel.options ?? {};
  const named = textMode === "value_and_name" || textMode === "name" || (textMode === "auto" && values.length > 1);
  const ground = getComputedStyle(document.documentElement).getPropertyValue("--panel").trim();
  const tiles = values.map((one) => tile(one, { named, colorMode, graphMode, theme, ground, onlyName: textMode === "name" }));
  const across = orientation === "horizontal" ? 1 : Math.min(values.length, Math.max(1, Math.ceil(Math.sqrt(values.length * 2))));
  fill(body, el("div", { class: `stats${values.length > 1 ? " many" : ""}`, style: { "--across": across } }, tiles));
  return true;
}

function tile({ name, value, config, course }, { named, colorMode, graphMode, theme, ground, onlyName }) {
  const { text, suffix, color, named: meant } = shown(value, config, theme);
  const filled = colorMode === "background" && color;
  const paper = filled ? color : ground;
  const ink = filled ? inkOn(paper) : colorMode === "none" || !color ? null : readable(color, ground);
  const meaning = (config.thresholds?.steps?.length ?? 0) > 1 || config.mappings?.length ? meaningOf(meant) : "";
  const short = /^\s*(%|°)$/.test(suffix);
  const drawn = graphMode === "area" && course;
  return el("div", { class: `stat${filled ? " filled" : ""}${drawn ? " with-course" : ""}`,
    style: { ...(filled ? { background: color } : {}), ...(ink ? { color: ink } : {}) } },
    drawn ? sparkline(course, ink ?? (contrast("#ffffff", ground) > 7 ? "#9aa5b1" : "#5c6672")) : null,
    named ? el("div", { class: "stat-name" }, name) : null,
    onlyName ? null : el("div", { class: "stat-value" }, text, suffix
      ? el("span", { class: short ? "" : "stat-unit" }, suffix) : null),
    meaning ? el("div", { class: `meaning ${meaning}` }, icon(SIGNS[meaning]), el("span", {}, meaning)) : null);
}

/** The course behind a number; a gap stays a gap. */
function sparkline({ times, values }, color) {
  const seen = values.filter((value) => typeof value === "number");
  const [low, high] = [Math.min(0, ...seen), Math.max(...seen, 0)];
  const [since, until] = [times[0], times.at(-1)];
  const x = (at) => (((times[at] - since) / Math.max(1, until - since)) * 100).toFixed(2);
  const y = (value) => (38 - (36 * (value - low)) / (high - low || 1)).toFixed(2);
  let [path, area, first] = ["", "", null];
  values.forEach((value, at) => {
    const last = at === values.length - 1 || typeof values[at + 1] !== "number";
    if (typeof value !== "number") return;
    const point = `${x(at)} ${y(value)}`;
    path += first === null ? `M${point}` : `L${point}`;
    area += first === null ? `M${x(at)} 40L${point}` : `L${point}`;
    first = last ? null : (first ?? at);
    if (last) area += `L${x(at)} 40Z`;
  });
  return svg("svg", { class: "spark", viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { d: area, fill: faded(color, 0.14), stroke: "none" }),
    svg("path", { d: path, fill: "none", stroke: faded(color, 0.7), "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }));
}
