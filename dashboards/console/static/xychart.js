// One chart over a number.  As charts over time are, plotly's part is static, and a layer of ours answers pointer and
// keys; there is nothing to zoom, and no other chart to be marked.

import { announce } from "./dom.js";
import { Chart, CONFIG } from "./chart.js";
import { plotly } from "./plot.js";
import { placeTip } from "./tip.js";
import { format } from "./units.js";
import { nearestPoint, partOf, pointsOf, rowsAt, xyFigure } from "./xyfigure.js";

const MOST_SAID = 5; // values; more would not be listened to

export class XYChart extends Chart {
  constructor(title) {
    super(title, {});
  }

  /** Draw these lines; resolves once they are seen. */
  async draw(lines) {
    this.lines = lines;
    this.looked = null;
    const words = lines.length === 1 ? "1 series" : `${lines.length} series`;
    this.layer.setAttribute("aria-label", `${this.title}: ${words}. Arrow keys read values.`);
    const turn = (this.turn += 1);
    const library = await plotly();
    // A newer drawing was asked for while the library came.
    if (turn === this.turn) await this._render(library);
  }

  async _render(library) {
    const { width, height } = this.node.getBoundingClientRect();
    if (width < 40 || height < 40 || !this.lines.length) return;
    const style = getComputedStyle(this.node);
    const value = (name) => style.getPropertyValue(name).trim();
    const size = { width: Math.floor(width), height: Math.floor(height) };
    const made = xyFigure(this.lines, { ...size, font: parseFloat(style.fontSize), ink: value("--muted"), grid: value("--grid") });
    made.layout.font.family = style.fontFamily;
    this.drawn = { ...made, ...size };
    await library.react(this.plot, made.data, made.layout, CONFIG);
    this.cross.hidden = true;
  }

  /** Times of other charts are no places of this one. */
  mark() {}

  _plotSize() {
    const { room, width, height } = this.drawn;
    return [Math.max(1, width - room.l - room.r), Math.max(1, height - room.t - room.b)];
  }

  /** Where the pointer is, in parts of the plot. */
  _place(event) {
    const box = this.node.getBoundingClientRect();
    const [width, height] = this._plotSize();
    const { room } = this.drawn;
    return [(event.clientX - box.left - room.l) / width, 1 - (event.clientY - box.top - room.t) / height];
  }

  _show(point, clientX, clientY) {
    const { line, at } = point;
    const { room, scales } = this.drawn;
    this.looked = point;
    this.cross.hidden = false;
    this.cross.style.left = `${room.l + partOf(line.xs[at], scales.x) * this._plotSize()[0]}px`;
    this.cross.style.bottom = `${room.b}px`;
    placeTip(rowsAt(this.lines, point), this._words(point), clientX, clientY);
  }

  _words({ line, at }) {
    const { unit, decimals, custom, displayName } = line.xConfig;
    const words = `${custom.axisLabel || displayName} ${format(line.xs[at], unit, decimals)}`;
    return line.notes[at] ? `${line.notes[at]}: ${words}` : words;
  }

  _leave() {
    this.looked = null;
    this.cross.hidden = true;
    placeTip(null);
  }

  _listen() {
    const on = (name, listener) => this.layer.addEventListener(name, (event) => { if (this.drawn) listener(event); });
    const look = (event) => {
      const found = nearestPoint(this.lines, this.drawn.scales, this._place(event), this._plotSize());
      if (found) this._show(found, event.clientX, event.clientY);
    };
    on("pointermove", look);
    on("pointerup", look); // a tap has no hovering before it
    on("pointercancel", () => this._leave());
    on("pointerleave", (event) => { if (event.pointerType !== "touch") this._leave(); });
    on("blur", () => this._leave());
    on("keydown", (event) => this._key(event));
  }

  _key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) this._walk(step * (event.ctrlKey ? 10 : 1));
    else if (event.key === "Escape" && this.looked) {
      this._leave();
      event.stopPropagation();
    } else return;
    event.preventDefault();
  }

  /** To the next point across, of points of any series. */
  _walk(step) {
    const all = this.lines.flatMap((line) => pointsOf(line).map((at) => ({ line, at })));
    // Of lines one point stands for all at its x.
    const kept = all.filter(({ line, at }, place) => line.points || all.findIndex((other) => other.at === at) === place);
    kept.sort((a, b) => a.line.xs[a.at] - b.line.xs[b.at]);
    if (!kept.length) return;
    const here = this.looked ? kept.findIndex(({ line, at }) => line === this.looked.line && at === this.looked.at) : -1;
    const next = here < 0 ? (step > 0 ? 0 : kept.length - 1) : Math.min(kept.length - 1, Math.max(0, here + step));
    const point = kept[next];
    const box = this.node.getBoundingClientRect();
    const left = this.drawn.room.l + partOf(point.line.xs[point.at], this.drawn.scales.x) * this._plotSize()[0];
    this._show(point, box.left + left, box.top + box.height / 3);
    const said = rowsAt(this.lines, point).slice(0, MOST_SAID).map(({ name, text }) => `${name} ${text}`);
    announce(`${this._words(point)}: ${said.join(", ")}`);
  }
}
