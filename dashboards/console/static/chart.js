// One chart: what plotly draws, and over it a layer of ours that answers pointer and keys.  plotly itself is static:
// no hover, no drag, no toolbar of its own, which makes drawing several times faster and needs no laxer policy.

import { announce, el } from "./dom.js";
import { colorOf } from "./colors.js";
import { figure } from "./figure.js";
import { nearest } from "./lines.js";
import { marksAt } from "./marks.js";
import { plotly } from "./plot.js";
import { placeTip, tipRows } from "./tip.js";
import { isoTime } from "./units.js";

export const CONFIG = { staticPlot: true, displayModeBar: false, responsive: false, doubleClick: false, showTips: false };
const DRAG_PX = 6; // less is a click
const NEAR_PX = 5; // so near a mark's line is pointed at

/** @typedef {{zoom: (from: number, to: number) => void, zoomOut: () => void, hover: (when: number|null) => void}} Acts */

export class Chart {
  /** @param {Acts} acts */
  constructor(title, acts) {
    this.acts = acts;
    this.title = title;
    this.plot = el("div", { class: "plot" });
    this.cross = el("div", { class: "cross", hidden: true });
    this.selection = el("div", { class: "selection", hidden: true });
    this.layer = el("div", { class: "layer", tabindex: "0", role: "application", "aria-roledescription": "chart" });
    this.node = el("div", { class: "chart" }, this.plot, this.cross, this.selection, this.layer);
    this.lines = [];
    this.marks = [];
    this.drawn = null;
    this.at = null;
    this.drag = null;
    this.turn = 0;
    this._listen();
    this.resizing = new ResizeObserver(() => this._resized());
    this.resizing.observe(this.node);
  }

  /** Draw these lines over a range of time; resolves once they are seen. */
  async draw(lines, range, sort, marks = []) {
    Object.assign(this, { lines, range, sort, marks });
    const words = lines.length === 1 ? "1 series" : `${lines.length} series`;
    this.layer.setAttribute("aria-label", `${this.title}: ${words}. Arrow keys read values, with shift they select, `
      + "enter zooms, minus zooms out.");
    const turn = (this.turn += 1);
    const library = await plotly();
    // A newer drawing was asked for while the library came.
    if (turn === this.turn) await this._render(library);
  }

  async _render(library) {
    const { width, height } = this.node.getBoundingClientRect();
    if (width < 40 || height < 40 || !this.range) return;
    const style = getComputedStyle(this.node);
    const value = (name) => style.getPropertyValue(name).trim();
    const theme = document.documentElement.dataset.theme;
    const made = figure(this.lines, {
      ...this.range, width: Math.floor(width), height: Math.floor(height), font: parseFloat(style.fontSize),
      marks: this.marks, ink: value("--muted"), grid: value("--grid"), ground: value("--panel"), colorOf: (name) => colorOf(name, theme),
    });
    made.layout.font.family = style.fontFamily;
    this.drawn = { ...made, width: Math.floor(width), height: Math.floor(height) };
    await library.react(this.plot, made.data, made.layout, CONFIG);
    this._showCross();
  }

  _resized() {
    const { width, height } = this.node.getBoundingClientRect();
    if (!this.drawn || (Math.abs(width - this.drawn.width) < 1 && Math.abs(height - this.drawn.height) < 1)) return;
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => plotly().then((library) => this._render(library)));
  }

  /** Draw again as it is: the theme has changed. */
  redraw() {
    if (this.drawn) plotly().then((library) => this._render(library));
  }

  /** Mark a time that is looked at in some chart; null takes the mark away. */
  mark(when) {
    this.at = when;
    this._showCross();
  }

  /** Give the drawing's memory back. */
  close() {
    this.resizing.disconnect();
    this.turn += 1;
    window.Plotly?.purge(this.plot);
  }

  _inside() {
    const { room, width } = this.drawn;
    return { left: room.l, width: Math.max(1, width - room.l - room.r) };
  }

  _pixel(when) {
    const { left, width } = this._inside();
    return left + ((when - this.range.from) / (this.range.to - this.range.from)) * width;
  }

  _time(clientX) {
    const { left, width } = this._inside();
    const part = (clientX - this.node.getBoundingClientRect().left - left) / width;
    return this.range.from + Math.min(1, Math.max(0, part)) * (this.range.to - this.range.from);
  }

  _showCross() {
    const seen = this.drawn && this.at !== null && this.at >= this.range.from && this.at <= this.range.to;
    this.cross.hidden = !seen;
    if (!seen) return;
    this.cross.style.left = `${this._pixel(this.at)}px`;
    this.cross.style.bottom = `${this.drawn.room.b}px`;
  }

  _snapped(when) {
    const first = this.lines[0];
    if (!first) return when;
    const at = nearest(first.times, when, Infinity);
    return at < 0 ? when : first.times[at];
  }

  _look(when, clientX, clientY) {
    const snapped = this._snapped(when);
    this.acts.hover(snapped);
    placeTip(tipRows(this.lines, snapped, this.sort), isoTime(snapped), clientX, clientY, this._marksAt(when));
  }

  /** What is marked at a time, or within a few pixels of it. */
  _marksAt(when) {
    return marksAt(this.marks, when, ((this.range.to - this.range.from) / this._inside().width) * NEAR_PX);
  }

  _leave() {
    this.acts.hover(null);
    placeTip(null);
  }

  _showSelection(one, other) {
    const [left, right] = [this._pixel(Math.min(one, other)), this._pixel(Math.max(one, other))];
    this.selection.hidden = false;
    this.selection.style.left = `${left}px`;
    this.selection.style.width = `${right - left}px`;
    this.selection.style.bottom = `${this.drawn.room.b}px`;
  }

  _endDrag() {
    this.drag = null;
    this.selection.hidden = true;
  }

  _listen() {
    const on = (name, listener) => this.layer.addEventListener(name, (event) => { if (this.drawn) listener(event); });
    on("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.drag = { x: event.clientX, since: this._time(event.clientX) };
      this.layer.setPointerCapture(event.pointerId);
    });
    on("pointermove", (event) => {
      const when = this._time(event.clientX);
      if (this.drag && Math.abs(event.clientX - this.drag.x) >= DRAG_PX) this._showSelection(this.drag.since, when);
      this._look(when, event.clientX, event.clientY);
    });
    on("pointerup", (event) => {
      const { drag } = this;
      this._endDrag();
      if (drag && Math.abs(event.clientX - drag.x) >= DRAG_PX) {
        this._leave();
        this.acts.zoom(drag.since, this._time(event.clientX));
      } else if (event.pointerType === "touch") {
        this._look(this._time(event.clientX), event.clientX, event.clientY); // a tap has no hovering before it
      }
    });
    on("pointercancel", () => { this._endDrag(); this._leave(); });
    on("pointerleave", (event) => { if (!this.drag && event.pointerType !== "touch") this._leave(); });
    on("dblclick", () => this.acts.zoomOut());
    on("blur", () => { this._endDrag(); this._leave(); });
    on("keydown", (event) => this._key(event));
  }

  _key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) this._step(step * (event.ctrlKey ? 10 : 1), event.shiftKey);
    else if (event.key === "Enter" && this.drag?.until !== undefined) {
      const { since, until } = this.drag;
      this._endDrag();
      this.acts.zoom(since, until);
    } else if (event.key === "-") this.acts.zoomOut();
    else if (event.key === "Escape" && (this.drag || this.at !== null)) {
      this._endDrag();
      this._leave();
      event.stopPropagation();
    } else return;
    event.preventDefault();
  }

  _step(step, selects) {
    const times = this.lines[0]?.times ?? [];
    if (!times.length) return;
    const here = this.at === null ? times.length - 1 : nearest(times, this.at, Infinity) + step;
    const when = times[Math.min(times.length - 1, Math.max(0, here))];
    if (!selects) this._endDrag();
    else this.drag = { x: 0, since: this.drag?.since ?? this.at ?? when, until: when };
    const box = this.node.getBoundingClientRect();
    this._look(when, box.left + this._pixel(when), box.top + box.height / 3);
    if (this.drag) this._showSelection(this.drag.since, when);
    const said = tipRows(this.lines, when, this.sort).slice(0, 5).map(({ name, text }) => `${name} ${text}`);
    const marked = this._marksAt(when).map(({ title }) => title);
    announce(`${isoTime(when)}: ${[...said, ...marked].join(", ") || "no values"}`);
  }
}

