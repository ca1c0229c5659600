// The one box that tells the values under the pointer.

import { el, fill } from "./dom.js";
import { nearest } from "./lines.js";
import { format } from "./units.js";

const MOST_MARKS = 3;
const MOST = 20; // rows; more would not fit beside the pointer

let box = null;

/** Values of lines at a time; those without one are left out. */
export function tipRows(lines, when, sort) {
  const rows = lines.flatMap((line) => {
    const at = nearest(line.times, when, line.interval);
    const value = at < 0 ? null : line.values[at];
    if (value === null || value === undefined) return [];
    return [{ name: line.name, color: line.color, value, text: format(value, line.config.unit, line.config.decimals) }];
  });
  if (sort === "desc") rows.sort((a, b) => b.value - a.value);
  if (sort === "asc") rows.sort((a, b) => a.value - b.value);
  return rows;
}

/** Show the rows beside the pointer; null hides the box. */
export function placeTip(rows, title, x, y, marks = []) {
  if (!box) {
    box = el("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    document.body.append(box);
  }
  box.hidden = !rows;
  if (!rows) return;
  const shown = rows.slice(0, MOST).map(({ name, color, text }) => el("tr", {},
    el("td", {}, el("span", { class: "swatch", style: { background: color } }), name), el("td", { class: "number" }, text)));
  fill(box, el("p", {}, title), el("table", {}, el("tbody", {}, shown)),
    rows.length > MOST ? el("p", {}, `and ${rows.length - MOST} more`) : null,
    rows.length ? null : el("p", {}, "no values"), marks.slice(0, MOST_MARKS).map(({ title: name, text, spanWords }) => el("div",
      { class: "tip-mark" }, el("strong", {}, name), el("p", {}, spanWords), el("p", {}, text))),
    marks.length > MOST_MARKS ? el("p", {}, `and ${marks.length - MOST_MARKS} more marks`) : null);
  const { width, height } = box.getBoundingClientRect();
  const left = x + 16 + width > innerWidth ? Math.max(4, x - 16 - width) : x + 16;
  box.style.left = `${left}px`;
  box.style.top = `${Math.max(4, Math.min(y + 12, innerHeight - height - 4))}px`;
}
