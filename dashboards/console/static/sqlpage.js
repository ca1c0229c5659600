// Questions of one's own: worked queries to begin with, an editor, and the answer as a table or a file.

import * as api from "./api.js";
import { el, fill } from "./dom.js";
import { kindOf } from "./frames.js";
import { readQueryLink, writeQueryLink } from "./state.js";
import { drawColumns } from "./table.js";

const TITLES = { NOC: "For the NOC", engineers: "For engineers", trust: "Can the figures be trusted?", report: "For the report" };
const PARAMETER = /\{(\w+)\s*:\s*([^{}]+)\}/g;

/** Names and types of the parameters in a query. */
export function parametersOf(sql) {
  return new Map([...sql.matchAll(PARAMETER)].map(([, name, type]) => [name, type.trim()]));
}

export class SqlPage {
  constructor() {
    this.values = {};
    this.worked = [];
    this.query = "";
    this.stop = null;
    this._build();
    this._fromLink();
    this._fetch();
    document.title = "SQL · Flowtide";
  }

  _build() {
    this.search = el("input", { type: "search", id: "find-query", placeholder: "Find a question",
      on: { input: () => this._list() } });
    this.list = el("div", { class: "queries-list" });
    this.editor = el("textarea", { id: "sql", class: "editor", rows: "12", spellcheck: "false", autocapitalize: "off",
      autocomplete: "off", "aria-describedby": "sql-hint", on: { input: () => this._edited(), keydown: (event) => this._key(event) } });
    this.inputs = el("div", { class: "parameters", role: "group", "aria-label": "Parameters" });
    this.runButton = el("button", { type: "button", class: "button primary", on: { click: () => this.run() } }, "Run");
    this.cancelButton = el("button", { type: "button", class: "button", disabled: true, on: { click: () => this.cancel() } }, "Cancel");
    this.csvButton = el("button", { type: "button", class: "button", on: { click: () => this.download() } }, "Download CSV");
    this.status = el("p", { class: "sql-status", role: "status" });
    this.note = el("div", { class: "query-note" });
    this.answer = el("div", { class: "answer" });
    this.node = el("div", { class: "sql-page" },
      el("aside", { class: "queries", "aria-label": "Worked queries" }, el("h1", {}, "Worked queries"),
        el("label", { for: "find-query", class: "spoken" }, "Find a question"), this.search, this.list),
      el("div", { class: "sql-work" }, this.note, el("label", { for: "sql" }, "SQL"), this.editor,
        el("p", { class: "hint", id: "sql-hint" }, "Ctrl+Enter runs, Escape cancels. You are a reader: nothing can be changed."),
        this.inputs, el("div", { class: "sql-buttons" }, this.runButton, this.cancelButton, this.csvButton, this.status),
        this.answer));
  }

  _fromLink() {
    const { query, sql, parameters } = readQueryLink(location.hash);
    this.query = query;
    this.values = { ...parameters };
    this.editor.value = sql;
    this._parameters();
    // A link must not run anything by itself: who follows it sees first what it asks.
    if (sql) this.status.textContent = "From a link: press Run to ask.";
  }

  async _fetch() {
    try {
      this.worked = await api.queries();
      this._list();
      const named = this.worked.find(({ name }) => name === this.query);
      if (named && !this.editor.value) this._choose(named, false);
      else this._note(named);
    } catch (problem) {
      fill(this.list, el("p", { class: "form-error" }, `The worked queries cannot be listed: ${problem.message}`));
    }
  }

  _list() {
    const wanted = this.search.value.toLowerCase();
    const groups = new Map();
    for (const query of this.worked) {
      if (!`${query.title} ${query.name} ${query.note}`.toLowerCase().includes(wanted)) continue;
      groups.set(query.group, [...(groups.get(query.group) ?? []), query]);
    }
    fill(this.list, [...groups].map(([group, queries]) => [el("h2", {}, TITLES[group] ?? group),
      el("ul", { class: "plain" }, queries.map((query) => el("li", {}, el("button", { type: "button", class: "item",
        "aria-current": query.name === this.query ? "true" : null, on: { click: () => this._choose(query) } }, query.title))))]).flat(),
      groups.size ? null : el("p", { class: "empty" }, "No question has these words"));
  }

  _choose(query, focus = true) {
    this.query = query.name;
    this.editor.value = query.sql;
    this.values = { ...query.parameters, ...(focus ? {} : this.values) };
    this._parameters();
    this._note(query);
    this._link();
    this._list();
    this.status.textContent = "";
    fill(this.answer);
    if (focus) this.runButton.focus();
  }

  _note(query) {
    fill(this.note, query ? [el("h1", {}, query.title), query.note ? el("p", {}, query.note) : null].filter(Boolean)
      : el("h1", {}, "A question of your own"));
  }

  _edited() {
    this._parameters();
    this._link();
  }

  /** One input for each {name:Type} in the text. */
  _parameters() {
    const wanted = parametersOf(this.editor.value);
    const known = [...this.inputs.querySelectorAll("input")].map((input) => input.name);
    if (known.join() === [...wanted.keys()].join()) {
      for (const input of this.inputs.querySelectorAll("input")) input.value = this.values[input.name] ?? "";
      return;
    }
    fill(this.inputs, [...wanted].map(([name, type]) => el("div", { class: "parameter" },
      el("label", { for: `param-${name}` }, name, " ", el("span", { class: "type" }, type)),
      el("input", { id: `param-${name}`, name, type: "text", value: this.values[name] ?? "", autocomplete: "off", spellcheck: "false",
        on: { input: (event) => { this.values[name] = event.target.value; this._link(); },
          keydown: (event) => this._key(event) } }))));
  }

  _body() {
    const wanted = [...parametersOf(this.editor.value).keys()];
    return { sql: this.editor.value, parameters: Object.fromEntries(wanted.map((name) => [name, this.values[name] ?? ""])) };
  }

  _link() {
    const { sql, parameters } = this._body();
    history.replaceState(null, "", location.pathname + location.search + writeQueryLink({ query: this.query, sql, parameters }));
  }

  _key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.run();
    } else if (event.key === "Escape" && this.stop) {
      event.preventDefault();
      this.cancel();
    }
  }

  /** Give up waiting. */
  cancel() {
    this.stop?.abort();
  }

  async _while(words, work) {
    this.cancel();
    const stop = (this.stop = new AbortController());
    this.cancelButton.disabled = false;
    this.status.className = "sql-status";
    this.status.textContent = words;
    try {
      await work(stop.signal);
    } catch (problem) {
      if (this.stop !== stop) return;
      this.status.textContent = stop.signal.aborted ? "Cancelled." : "";
      if (!stop.signal.aborted) fill(this.answer, el("pre", { class: "sql-error", role: "alert", tabindex: "0" }, problem.message));
    } finally {
      if (this.stop === stop) {
        this.stop = null;
        this.cancelButton.disabled = true;
      }
    }
  }

  /** Ask, and show the answer. */
  run() {
    if (!this.editor.value.trim()) {
      this.status.textContent = "Write a query first, or choose one.";
      return Promise.resolve();
    }
    this._link();
    return this._while("Running", async (signal) => {
      const { columns, rows, elapsed_ms: elapsed, truncated } = await api.sql(this._body(), signal);
      const rowWords = `${rows.length.toLocaleString("en-US")} ${rows.length === 1 ? "row" : "rows"}`;
      this.status.textContent = `${rowWords} in ${Math.round(elapsed)} ms${truncated ? "; cut off here, the CSV file has more" : ""}`;
      this.status.classList.toggle("cut", truncated);
      const cols = columns.map((column, at) => ({ ...column, kind: kindOf(column.type), values: rows.map((row) => row[at]),
        config: { kind: kindOf(column.type), custom: {}, color: { mode: "none" }, unit: kindOf(column.type) === "number" ? "raw" : undefined,
          noValue: "NULL" } }));
      drawColumns(this.answer, cols, document.documentElement.dataset.theme, {}, { label: "Answer", types: true });
      if (!rows.length) this.answer.append(el("p", { class: "empty" }, "No row"));
    });
  }

  /** Ask for the answer as a file. */
  download() {
    return this._while("Fetching the file", async (signal) => {
      const file = URL.createObjectURL(await api.sqlCsv(this._body(), signal));
      el("a", { href: file, download: `${this.query || "query"}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(file), 10_000);
      this.status.textContent = "The file is saved.";
    });
  }

  /** The address has changed: a link to another question. */
  update() {
    if (location.hash && readQueryLink(location.hash).sql !== this.editor.value) this._fromLink();
  }

  /** It leaves the page. */
  close() {
    this.cancel();
  }
}
