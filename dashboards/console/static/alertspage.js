// The page of alerts: rules by severity with what fires, silences, and what happened in the last week.

import * as api from "./api.js";
import { bySeverity, labelWords, lasted, panelLink, stateOf, summary, valueWords, worst } from "./alerts.js";
import { el, fill, icon } from "./dom.js";
import { isSafeLink } from "./markdown.js";
import { fromNow, isoTime } from "./units.js";

const EVERY_MS = 15_000;

export class AlertsPage {
  /** @param {import("./badge.js").Badge} badge what the bar shows; it is asked anew with the page */
  constructor(badge) {
    this.badge = badge;
    this.stop = new AbortController();
    this.shown = {};
    this.status = el("p", { class: "alerts-status", role: "status" }, "Asking");
    this.banner = el("div", { class: "alarm", role: "alert", hidden: true });
    this.rules = el("div", {});
    this.silences = el("div", {});
    this.history = el("div", {});
    this.node = el("div", { class: "alerts-page" }, el("h1", {}, "Alerts"), this.banner, this.status, this.rules,
      el("section", { "aria-labelledby": "silences" }, el("h2", { id: "silences" }, "Silences"), this.silences),
      el("section", { "aria-labelledby": "history" }, el("h2", { id: "history" }, "The last week"), this.history));
    document.title = "Alerts · Flowtide";
    this.timer = setInterval(() => { if (!document.hidden) this.refresh(); }, EVERY_MS);
    this.refresh();
  }

  /** Ask again. */
  async refresh() {
    this.badge.refresh();
    await Promise.all([this._fetchRules(), this._fetchHistory()]);
    this.node.dataset.settled = "1"; // for whoever waits until all is there
  }

  async _fetchRules() {
    try {
      const found = await api.alerts(this.stop.signal);
      this._warn(found.problem ? (found.running ? "Look at the evaluation." : "Alert rules are not evaluated.") : "", found.problem);
      const at = found.evaluated_at ? Date.parse(found.evaluated_at) : NaN;
      this.status.textContent = !found.running ? "State of all rules: not known." : `${summary(found.rules)} · `
        + (Number.isNaN(at) ? "not evaluated yet" : `evaluated at ${isoTime(at)}, ${fromNow(at)}`);
      this._show("rules", found.rules, (rules) => this._drawRules(rules, found.running));
      this._show("silences", found.silences, (silences) => this._drawSilences(silences, found.running));
    } catch (problem) {
      if (this.stop.signal.aborted) return;
      // What stands below is of before, and must not read as of now.
      this._warn("The state of the rules is not known.", problem.message);
      this.status.textContent = this.shown.rules ? "What stands below is of before." : "State of all rules: not known.";
    }
  }

  async _fetchHistory() {
    try {
      this._show("history", await api.alertHistory(this.stop.signal), (found) => this._drawHistory(found));
    } catch (problem) {
      if (this.stop.signal.aborted) return;
      delete this.shown.history;
      fill(this.history, el("p", { class: "form-error" }, `What happened cannot be shown: ${problem.message}`));
    }
  }

  _warn(head, words = "") {
    this.banner.hidden = !head;
    const said = `${head} ${words}`;
    if (!head || this.banner.dataset.said === said) return;
    this.banner.dataset.said = said; // not spoken again with each refresh
    fill(this.banner, icon("warning"), el("div", {}, el("strong", {}, head), " ", words));
  }

  /** Draw what has changed: a refresh must close nothing that somebody has opened. */
  _show(name, found, draw) {
    const text = JSON.stringify(found);
    if (this.shown[name] === text) return;
    this.shown[name] = text;
    const open = new Set([...this.node.querySelectorAll("details[open]")].map(({ id }) => id));
    const focused = document.activeElement?.id;
    draw(found);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
  }

  _drawRules(rules, running) {
    if (!rules.length) {
      return void fill(this.rules, running ? el("p", { class: "empty" }, "The evaluator has no rules") : null);
    }
    const named = new Set();
    fill(this.rules, bySeverity(rules).map(({ severity, title, rules: some }) => el("section", { "aria-labelledby": `severity-${severity}` },
      el("h2", { id: `severity-${severity}` }, title), some.map((rule) => {
        // The first rule of a name is where a link to #r1 leads.
        const anchor = named.has(rule.rule) ? null : String(rule.rule ?? "").toLowerCase() || null;
        named.add(rule.rule);
        return this._rule(rule, anchor);
      }))));
    const wanted = location.hash.slice(1);
    if (wanted && !this.led) {
      this.led = true;
      const target = document.getElementById(wanted);
      target?.querySelector("details")?.setAttribute("open", "");
      requestAnimationFrame(() => target?.scrollIntoView());
    }
  }

  _rule(rule, anchor) {
    const busy = rule.instances.filter(({ state }) => state !== "normal");
    const quiet = rule.instances.filter(({ state }) => state === "normal");
    const link = panelLink(rule);
    const runbook = rule.annotations.runbook_url ?? "";
    const since = rule.since ? Date.parse(rule.since) : NaN;
    return el("article", { class: `rule ${worst(rule)}`, id: anchor, "data-uid": rule.uid },
      el("div", { class: "rule-head" }, chip(worst(rule)), el("h3", {}, rule.title),
        Number.isNaN(since) ? null : el("span", { class: "note", title: isoTime(since) }, `since ${isoTime(since)}`)),
      rule.error ? el("p", { class: "form-error" }, rule.error) : null,
      busy.map((one) => this._instance(one)),
      quiet.length ? el("p", { class: "note" }, `Normal: ${quiet.map(({ labels }) => labelWords(labels)).join("; ")}`) : null,
      rule.state === "nodata" ? el("p", { class: "note" }, "There was nothing to judge: this is no all-clear.") : null,
      el("div", { class: "rule-links" }, link ? el("a", { href: link, id: `panel-of-${rule.uid}` }, "Panel",
        el("span", { class: "spoken" }, ` of ${rule.title}`)) : null,
        /^https?:/i.test(runbook) && isSafeLink(runbook) ? el("a", { href: runbook, rel: "noreferrer", id: `runbook-of-${rule.uid}` },
          "Runbook", el("span", { class: "spoken" }, ` of ${rule.title}`)) : null),
      rule.runbook ? el("details", { id: `what-${rule.uid}` }, el("summary", { id: `sum-${rule.uid}` }, "What to do",
        el("span", { class: "spoken" }, ` about ${rule.title}`)),
        el("dl", {}, [["Means", rule.runbook.meaning], ["Look first", rule.runbook.first], ["Do", rule.runbook.then],
          ["Silent", rule.runbook.silent]].flatMap(([name, words]) => [el("dt", {}, name), el("dd", {}, words)]))) : null);
  }

  _instance(one) {
    const since = one.since ? Date.parse(one.since) : NaN;
    return el("div", { class: `instance ${one.state}` },
      el("p", { class: "instance-head" }, chip(one.state), el("strong", {}, labelWords(one.labels)),
        Number.isNaN(since) ? null : el("span", { class: "note" }, `since ${isoTime(since)}`),
        one.silenced ? el("span", { class: "silenced" }, `silenced by ${one.silenced}`) : null),
      one.annotations?.summary ? el("p", {}, one.annotations.summary) : null,
      one.annotations?.description ? el("p", { class: "note" }, one.annotations.description) : null,
      Object.keys(one.values ?? {}).length ? el("p", { class: "note numbers" }, valueWords(one.values)) : null);
  }

  _drawSilences(silences, running) {
    const how = el("p", { class: "note" }, "Made by command: ", el("code", {},
      "flowtide alerts silence add rule=R1 service=fixed --for 2h --comment WHY"));
    if (!silences.length) {
      return void fill(this.silences, el("p", { class: "note" }, running ? "None in force or to come." : "Not known."), how);
    }
    const rows = silences.map(({ id, state, matchers, starts, ends, author, comment }) => [String(id), String(state ?? ""),
      (matchers ?? []).join(", "), isoTime(Date.parse(starts)), isoTime(Date.parse(ends)), author, comment]);
    fill(this.silences, table("Silences", ["id", "state", "of alerts with", "from", "to", "by", "why"], rows), how);
  }

  _drawHistory({ events, more, days }) {
    if (!events.length) return void fill(this.history, el("p", { class: "note" }, `Nothing in the last ${days} days.`));
    const rows = events.map((event) => [isoTime(event.time), chip(event.state), `${event.title}`, labelWords(event.labels),
      event.state === "resolved" ? `after ${lasted(event.time - event.started)}` : "", [event.summary, event.reason].filter(Boolean).join(" · ")]);
    fill(this.history, table("The last week", ["time", "state", "rule", "of", "lasted", "what was told"], rows),
      more ? el("p", { class: "note" }, `The newest ${events.length}; the table alert_history has all.`) : null);
  }

  /** The address has changed: nothing of it is ours. */
  update() {}

  /** It leaves the page. */
  close() {
    clearInterval(this.timer);
    this.stop.abort();
  }
}

function chip(state) {
  const { words, sign } = stateOf(state);
  return el("span", { class: `chip ${state}` }, icon(sign), words);
}

function table(label, heads, rows) {
  return el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": `${label}, table`, id: `table-${label[0]}` },
    el("table", { class: "table" }, el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))));
}
