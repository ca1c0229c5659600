// The legend of a chart: names with their colours and figures; a click shows one series alone, with ctrl it hides one.

import { el, fill } from "./dom.js";
import { reduced, reducerWord } from "./frames.js";
import { format } from "./units.js";

/** Figures of a line as the legend prints them. */
export function legendFigures(line, calcs) {
  return calcs.map((how) => {
    const value = reduced(line.values, how);
    return value === null ? "–" : format(value, line.config.unit, line.config.decimals);
  });
}

/** The series that are hidden after a click on one of them. */
export function afterClick(hidden, names, name, adds) {
  if (adds) return hidden.has(name) ? new Set([...hidden].filter((one) => one !== name)) : new Set([...hidden, name]);
  const alone = !hidden.has(name) && names.every((one) => one === name || hidden.has(one));
  return alone ? new Set() : new Set(names.filter((one) => one !== name));
}

/** Draw it; `change` is given what is hidden after a click. */
export function drawLegend(node, lines, options, hidden, change) {
  const { calcs = [], displayMode = "list" } = options;
  const names = lines.map(({ name }) => name);
  const old = node.scrollTop;
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.name : undefined;
  const click = (name) => (event) => change(afterClick(hidden, names, name, event.ctrlKey || event.metaKey || event.shiftKey));
  const entry = (line) => el("button", { type: "button", class: "series", "aria-pressed": String(!hidden.has(line.name)),
    "data-name": line.name,
    title: `${line.name}: click shows it alone, ctrl+click hides it`, on: { click: click(line.name) } },
    el("span", { class: `swatch${line.dashed ? " dashed" : ""}`, style: { "--color": line.color } }),
    el("span", { class: "series-name" }, line.name));
  if (displayMode === "table") {
    const heads = calcs.map((how) => el("th", { scope: "col" }, reducerWord(how)));
    const rows = lines.map((line) => el("tr", { class: hidden.has(line.name) ? "off" : "" },
      el("th", { scope: "row" }, entry(line)), legendFigures(line, calcs).map((text) => el("td", {}, text))));
    fill(node, el("table", { class: "legend-table" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "spoken" }, "Series")), heads)),
      el("tbody", {}, rows)));
  } else {
    fill(node, el("ul", { class: "legend-list" }, lines.map((line) => el("li", { class: hidden.has(line.name) ? "off" : "" },
      entry(line), legendFigures(line, calcs).map((text, at) => el("span", { class: "figure" },
        `${reducerWord(calcs[at])}: ${text}`))))));
  }
  node.scrollTop = old;
  // A refresh must not take the focus away from who walks through the names.
  if (focused !== undefined) [...node.querySelectorAll(".series")].find((one) => one.dataset.name === focused)?.focus();
}
