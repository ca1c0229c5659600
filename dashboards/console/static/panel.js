// One panel: its frame, its menu, and how it goes from asking to seen.  What it showed stays until there is something
// newer; when there is an error it says so and what it shows is dimmed.

import * as api from "./api.js";
import { dialog, menuItem, popup } from "./popup.js";
import { el, fill, icon } from "./dom.js";
import { bodyOf } from "./bodies.js";
import { isoClock } from "./units.js";
import { textNodes } from "./textpanel.js";
import { writeQueryLink } from "./state.js";

const ASKS = new Set(["timeseries", "stat", "table", "xychart"]);

export class Panel {
  /** @param {import("./dashboard.js").Dashboard} board */
  constructor(definition, board) {
    this.definition = definition;
    this.board = board;
    this.id = definition.id;
    this.asks = ASKS.has(definition.type);
    this.frames = null;
    this.shownFor = ""; // the state and time that what is shown belongs to
    this.asking = null;
    this.goodAt = null;
    this._build();
    this.body = bodyOf(this);
    if (definition.type === "text") fill(this.place, el("div", { class: "words" }, textNodes(definition.options?.content ?? "")));
    else if (!this.asks) fill(this.place, el("p", { class: "empty" }, `The console does not draw panels of type ${definition.type}`));
  }

  _build() {
    const { title, description } = this.definition;
    const id = `panel-${this.id}`;
    const name = title || "this panel";
    const button = (sign, label) => el("button", { type: "button", class: "button quiet small", "aria-label": label, title: label },
      icon(sign));
    this.problem = el("div", { class: "problem", hidden: true });
    this.place = el("div", { class: "panel-body" });
    this.heading = el("h3", { class: "panel-title", id: `${id}-title`, title: title ?? null }, this.board.named(title ?? ""));
    this.node = el("section", { class: `panel kind-${this.definition.type}${title ? "" : " untitled"}`
      + (this.definition.gridPos.w <= 6 ? " narrow" : ""), id, "data-id": this.id,
      ...(title ? { "aria-labelledby": `${id}-title` } : { "aria-label": `${this.definition.type} panel` }) },
      el("div", { class: "panel-head" }, this.heading,
        description ? popup(button("info", `What ${name} means`), () => el("div", { class: "description" }, textNodes(description)),
          { label: `What ${name} means`, wide: true }) : null,
        this.asks ? this._menuPlace(button("menu", `Menu of ${name}`), name) : null),
      el("div", { class: "progress", "aria-hidden": "true" }), this.place, this.problem);
  }

  _menuPlace(button, name) {
    const place = popup(button, () => this._menu(), { role: "menu", label: `Menu of ${name}` });
    place.classList.add("menu-place");
    return place;
  }

  _menu() {
    const viewed = this.board.state.view === this.id;
    return [
      menuItem(viewed ? "Back to the dashboard" : "View larger", () => this.board.view(viewed ? null : this.id)),
      menuItem("Download CSV", api.csvAddress(this.board.uid, this.id, this._request(this.board.range)), { download: true }),
      menuItem("Show SQL", () => this._showSql()),
    ];
  }

  _showSql() {
    const parts = (this.definition.targets ?? []).map((target) => {
      const ran = this.frames?.find(({ ref }) => ref === target.refId);
      const text = ran?.sql ?? target.rawSql;
      const took = ran?.elapsed_ms === undefined ? "" : `, ${Math.round(ran.elapsed_ms)} ms, ${ran.rows?.length ?? 0} rows`;
      return [el("h3", {}, `Query ${target.refId}${took}`), el("pre", { tabindex: "0" }, text),
        ran?.sql ? el("p", {}, el("a", { class: "button", href: `/sql${writeQueryLink({ query: "", sql: text, parameters: {} })}` },
          "Open on the SQL page")) : null];
    });
    dialog(`SQL of ${this.definition.title ?? "the panel"}`, ...parts.flat().filter(Boolean));
  }

  /** The body of the request that asks for this panel's rows. */
  _request(range) {
    // In steps, so that windows of nearly the same width share an answer of the server.
    const width = this.place.clientWidth || 600;
    const points = this.definition.maxDataPoints ?? Math.min(1000, Math.max(200, Math.ceil(width / 200) * 200));
    return { ...range, max_points: points, variables: this.board.chosen() };
  }

  /** Ask and show; resolves to "ok", "down", "failed", "busy" or "gone", never rejects. */
  async load(key, range, signal) {
    // A store slower than the refresh must not be asked more and more: one question of a state at a time.
    if (this.asking?.signal === signal) return "busy";
    const asking = (this.asking = { signal });
    this.node.classList.add("asking");
    try {
      const answer = await api.panel(this.board.uid, this.id, this._request(range), signal);
      if (signal.aborted) return "gone";
      this.shownFor = key;
      return await this._take(answer);
    } catch (problem) {
      if (signal.aborted) return "gone";
      this._fail(problem.message, problem.isDown);
      return problem.isDown ? "down" : "failed";
    } finally {
      if (this.asking === asking) {
        this.asking = null;
        this.node.classList.remove("asking");
      }
    }
  }

  async _take({ from, to, frames }) {
    const failed = frames.filter(({ error }) => error);
    if (failed.length === frames.length && failed.length) {
      this._fail(failed[0].error);
      return "failed";
    }
    this.frames = frames.filter(({ error }) => !error);
    this.drawnRange = { from, to };
    this.goodAt = Date.now();
    this.node.classList.remove("failed");
    this.node.classList.add("has-data");
    this.problem.hidden = true;
    if (failed.length) this._tell(`Query ${failed[0].ref}: ${failed[0].error}`);
    return (await this.show()) ? "ok" : "failed";
  }

  /** Draw what is there, again or for the first time; false when that failed. */
  async show() {
    if (!this.frames) return true;
    try {
      const drawn = await this.body.draw(this.frames, this.drawnRange);
      this.node.classList.toggle("empty-panel", !drawn);
      return true;
    } catch (problem) {
      this._fail(problem.message);
      return false;
    }
  }

  /** `told`: the page has said why, so the panel says only how old it is. */
  _fail(message, told = false) {
    this.node.classList.add("failed");
    this.node.classList.toggle("kept", this.frames !== null);
    const since = this.goodAt === null ? "" : `Shown is ${isoClock(this.goodAt)}`;
    this._tell(told && since ? since : [message, since].filter(Boolean).join(" · "), message);
  }

  _tell(words, message = words) {
    this.problem.hidden = false;
    this.problem.title = message;
    fill(this.problem, icon("warning"), el("span", {}, words));
  }

  /** Words in the body's place: nothing to show. */
  empty(words) {
    fill(this.place, el("p", { class: "empty" }, words));
  }

  /** The variables or the theme have changed. */
  rename() {
    this.heading.textContent = this.board.named(this.definition.title ?? "");
  }

  /** It is taken from the page. */
  close() {
    this.body.close?.();
  }
}
