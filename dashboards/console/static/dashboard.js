// One dashboard on the page: its panels, its choices, and the rounds of asking that keep it fresh.

import * as api from "./api.js";
import { Panel } from "./panel.js";
import { ALL, variableControl, wordsOf } from "./variables.js";
import { el, fill } from "./dom.js";
import { marksOf } from "./marks.js";
import { buildGrid, partsOf, rowsOf } from "./grid.js";
import { dragged, intervalMs, isLive, resolveRange, shifted, zoomedOut } from "./time.js";

const TICK_MS = 5000; // the server's grid of "now": all panels of a round ask for the same window

export class Dashboard {
  /**
   * @param {import("./state.js").State} state
   * @param {{go: (patch: object, replace?: boolean) => void, theme: () => string, fresh: (facts: object) => void}} shell
   */
  constructor(definition, state, shell) {
    Object.assign(this, { definition, state, shell, uid: definition.uid });
    this.variables = new Map();
    this.marks = [];
    this.controls = [];
    this.variableBar = el("div", { class: "variables", role: "group", "aria-label": "Filters", hidden: true });
    this.root = el("div", { class: "dashboard" });
    this.marksProblem = el("p", { class: "marks-problem note", role: "status", hidden: true });
    this.node = el("div", {}, this.variableBar, this.marksProblem, this.root);
    this.panels = new Map();
    this.visible = new Set();
    this.stop = new AbortController();
    this.facts = { goodAt: null, down: null, asking: false };
    this.round = 0; // grows with each time that is asked for
    this.rounds = 0; // under way
    this._readVariables();
    this._setRange();
    // A margin: what is about to be scrolled to is there when it comes.
    this.watching = new IntersectionObserver((entries) => this._seen(entries), { rootMargin: "200px 0px" });
    buildGrid(this.root, definition.panels, (panel) => this._add(panel), () => this.refresh());
    this._show();
    this.fetchVariables();
    this.fetchMarks();
  }

  get theme() {
    return this.shell.theme();
  }

  /** From and to as the address has them, else as the dashboard does. */
  get span() {
    const { time = {} } = this.definition;
    return { from: this.state.from || time.from || "now-1h", to: this.state.to || time.to || "now" };
  }

  get refreshText() {
    const own = typeof this.definition.refresh === "string" ? this.definition.refresh : "";
    return this.state.refresh ?? own;
  }

  _add(definition) {
    const panel = new Panel(definition, this);
    this.panels.set(panel.node, panel);
    this.watching.observe(panel.node);
    return panel.node;
  }

  _readVariables() {
    for (const variable of this.definition.templating?.list ?? []) {
      const current = variable.current?.value;
      this.variables.set(variable.name, {
        label: variable.label || variable.name, multi: !!variable.multi, include_all: !!variable.includeAll,
        hide: variable.hide ?? 0, options: (variable.options ?? []).map(({ text, value }) => ({ text, value })),
        current: current === undefined || current === "" ? (variable.includeAll ? [ALL] : []) : [current].flat(),
      });
    }
  }

  /** What is chosen, by variable. */
  chosen() {
    const values = {};
    for (const [name, variable] of this.variables) {
      const now = this.state.variables[name] ?? variable.current;
      if (now.length) values[name] = now;
    }
    return values;
  }

  /** A title with its variables in words. */
  named(title) {
    return title.replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)/g, (whole, one, other) => {
      const variable = this.variables.get(one ?? other);
      return variable ? wordsOf(variable, this.chosen()[one ?? other] ?? []) : whole;
    });
  }

  /** What is chosen in words, where there is no room for controls. */
  filterWords() {
    return [...this.variables].filter(([, variable]) => variable.hide !== 2)
      .map(([name, variable]) => `${variable.label}: ${wordsOf(variable, this.chosen()[name] ?? [])}`);
  }

  /** Ask for the choices; until they are there the dashboard's own are used. */
  async fetchVariables() {
    if (!this.variables.size) return;
    this._showVariables();
    try {
      const found = await api.variables(this.uid, this.range, this.stop.signal);
      const before = JSON.stringify(this.chosen());
      for (const [name, variable] of Object.entries(found)) {
        const current = variable.current.filter((value) => value !== "");
        const usual = variable.include_all ? [ALL] : variable.options.slice(0, 1).map(({ value }) => value);
        this.variables.set(name, { ...variable, label: variable.label || name, current: current.length ? current : usual });
      }
      this.askedVariables = true;
      this._showVariables();
      if (JSON.stringify(this.chosen()) !== before) this.restart();
    } catch (problem) {
      if (problem.name !== "AbortError") this.askedVariables = false; // with the next round again
    }
  }

  _showVariables() {
    const focused = document.activeElement?.id;
    this.controls = [...this.variables].filter(([, { hide }]) => hide !== 2).map(([name, variable]) => (
      variableControl(name, variable, () => this.chosen()[name] ?? [], (values) => this._choose(name, values))));
    const toggle = el("button", { type: "button", class: "button filters-toggle", "aria-expanded": "false", on: { click: () => {
      const open = this.variableBar.classList.toggle("open");
      toggle.setAttribute("aria-expanded", String(open));
    } } }, "Filters", el("span", { class: "caret", "aria-hidden": "true" }, "▾"));
    toggle.setAttribute("aria-expanded", String(this.variableBar.classList.contains("open")));
    fill(this.variableBar, toggle, this.controls.map(({ node }) => node));
    this.variableBar.hidden = !this.controls.length;
    if (focused && this.variableBar.querySelector(`[id="${focused}"]`)) document.getElementById(focused).focus();
  }

  _choose(name, values) {
    this.shell.go({ variables: { ...this.state.variables, [name]: values } });
  }

  _setRange() {
    const { from, to } = this.span;
    const now = Math.floor(Date.now() / TICK_MS) * TICK_MS;
    const range = resolveRange(from, to, now) ?? resolveRange("now-1h", "now", now);
    this.range = { from: Math.round(range.from), to: Math.round(range.to) };
  }

  /** Ask what happened in the range; the charts that are drawn already get it when it comes. */
  async fetchMarks() {
    if (!(this.definition.annotations?.list ?? []).length || this.askingMarks === this.stop.signal) return;
    const { signal } = this.stop;
    this.askingMarks = signal;
    try {
      const { annotations, to } = await api.annotations(this.uid, this.range, signal);
      if (signal.aborted) return;
      const marks = marksOf(annotations, to);
      this._sayMarks(annotations.find(({ error }) => error)?.error);
      if (JSON.stringify(marks) === JSON.stringify(this.marks)) return;
      this.marks = marks;
      for (const panel of this.panels.values()) if (panel.definition.type === "timeseries") panel.show();
    } catch (problem) {
      // A store that is silent is told by the panels.
      if (!signal.aborted && !problem.isDown) this._sayMarks(problem.message);
    } finally {
      if (this.askingMarks === signal) this.askingMarks = null;
    }
  }

  _sayMarks(problem) {
    this.marksProblem.hidden = !problem;
    if (problem) this.marksProblem.textContent = `Alerts cannot be marked in the charts: ${problem}`;
  }

  /** The address has changed. */
  update(state) {
    const asked = (one) => JSON.stringify([one.from, one.to, one.variables]);
    const same = asked(this.state) === asked(state);
    const interval = this.refreshText;
    this.state = state;
    this._show();
    if (!same) this.restart();
    else if (interval !== this.refreshText) this._schedule();
    else this.refresh();
  }

  /** What was asked for is no longer wanted: ask anew. */
  restart() {
    this.stop.abort();
    this.stop = new AbortController();
    for (const panel of this.panels.values()) panel.rename();
    for (const { update } of this.controls) update();
    this.refresh();
  }

  _seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.visible.add(target);
      else this.visible.delete(target);
    }
    this.refresh(false);
  }

  /** Ask for what is seen; `anew` begins a round with the time of now, else only what lacks this round's is asked. */
  async refresh(anew = true) {
    if (document.hidden) return;
    if (anew) {
      this._setRange();
      this.round += 1;
      if (this.askedVariables === false) this.fetchVariables();
      this.fetchMarks();
    }
    this._schedule();
    const { stop, round } = this;
    const key = `${round}/${this.range.from}/${this.range.to}`;
    const due = [...this.panels].filter(([node, panel]) => this.visible.has(node) && panel.asks && panel.shownFor !== key)
      .map(([, panel]) => panel);
    // Numbers and tables need no drawing library: they come first.
    const isDrawn = ({ definition }) => definition.type === "timeseries" || definition.type === "xychart";
    due.sort((a, b) => Number(isDrawn(a)) - Number(isDrawn(b)));
    if (!due.length) return;
    const began = performance.now();
    this.rounds += 1;
    delete this.root.dataset.settled;
    this._tell({ asking: true });
    const ends = await Promise.all(due.map((panel) => panel.load(key, this.range, stop.signal)));
    this.rounds -= 1;
    if (!this.rounds) this.root.dataset.settled = String(round); // for whoever waits until all is drawn
    if (stop.signal.aborted) return;
    performance.clearMeasures("flowtide-round"); // only the last: a wall runs for months
    performance.measure("flowtide-round", { start: began, detail: { panels: due.length } });
    const answered = ends.some((end) => end === "ok" || end === "failed");
    const down = ends.includes("down") ? due[ends.indexOf("down")].problem.title : answered ? null : this.facts.down;
    this._tell({ asking: false, down, ...(ends.includes("ok") && !down ? { goodAt: Date.now() } : {}) });
  }

  _schedule() {
    clearTimeout(this.timer);
    const wait = intervalMs(this.refreshText);
    if (wait) this.timer = setTimeout(() => this.refresh(), wait);
  }

  _tell(facts = {}) {
    Object.assign(this.facts, facts);
    const failed = [...this.panels].filter(([, panel]) => panel.node.classList.contains("failed")).length;
    this.shell.fresh({ ...this.facts, failed, refreshMs: intervalMs(this.refreshText), live: isLive(this.span.to) });
  }

  /** Say once more how fresh it is: time has gone on. */
  tick() {
    this._tell();
  }

  /** The theme has changed. */
  repaint() {
    for (const panel of this.panels.values()) panel.show();
  }

  /** A time is looked at in one chart: all mark it. */
  hover(when) {
    for (const panel of this.panels.values()) panel.body.mark?.(when);
  }

  /** A part of a chart was dragged over. */
  zoomTo(one, other) {
    const { from, to } = dragged(one, other);
    this.shell.go({ from: String(from), to: String(to) });
  }

  /** Twice as long. */
  zoomOut() {
    const { from, to } = zoomedOut(this.range, Date.now());
    this.shell.go({ from: String(from), to: String(to) });
  }

  /** Half a length earlier or later. */
  shift(direction) {
    const { from, to } = shifted(this.range, direction, Date.now());
    this.shell.go({ from: String(from), to: String(to) });
  }

  /** One panel alone, or (null) all. */
  view(id) {
    this.shell.go({ view: id });
  }

  _show() {
    const { view, wall } = this.state;
    const known = [...this.panels.values()].some(({ id }) => id === view);
    this.root.classList.toggle("viewing", known);
    for (const panel of this.panels.values()) {
      const viewed = known && panel.id === view;
      panel.node.classList.toggle("viewed", viewed);
      if (viewed) panel.node.parentElement.hidden = false; // its row may be folded
    }
    document.title = `${this.definition.title} · Flowtide`;
    const rows = partsOf(this.definition.panels).reduce((sum, { panels }) => sum + rowsOf(panels), 0);
    this.root.style.setProperty("--rows", String(Math.max(1, rows)));
    document.body.classList.toggle("wall", wall);
  }

  /** It leaves the page. */
  close() {
    clearTimeout(this.timer);
    this.stop.abort();
    this.watching.disconnect();
    for (const panel of this.panels.values()) panel.close();
  }
}
