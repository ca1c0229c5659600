// Whether what is seen is of now.  It must never be silently old: a screen that stands still looks like a quiet network.

import { el, fill, icon } from "./dom.js";
import { isoClock } from "./units.js";

const LEAST_MS = 15_000;

/** An age in few letters. */
export function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/**
 * What to say.
 * @param {{now: number, goodAt: number|null, refreshMs: number, live: boolean, down: string|null, failed: number,
 *   asking: boolean}} facts `down` is the message of a store that does not answer; `failed` counts panels in error
 * @returns {{kind: "wait"|"ok"|"idle"|"stale"|"down", words: string, detail: string}}
 */
export function freshness({ now, goodAt, refreshMs, live, down, failed, asking }) {
  const since = goodAt === null ? "nothing shown yet" : `shown is ${isoClock(goodAt)}, ${age(now - goodAt)} ago`;
  if (down) return { kind: "down", words: "Store does not answer", detail: `${down}; ${since}` };
  if (goodAt === null) return { kind: "wait", words: asking ? "Asking the store" : "No data yet", detail: "" };
  const old = now - goodAt;
  if (refreshMs && old > Math.max(LEAST_MS, 3 * refreshMs)) {
    return { kind: "stale", words: `Stale: ${since}`, detail: "No refresh has come through for three intervals." };
  }
  if (failed) return { kind: "stale", words: `${failed} ${failed === 1 ? "panel" : "panels"} in error`, detail: since };
  if (!refreshMs && live) return { kind: "idle", words: `As of ${isoClock(goodAt)}`, detail: "Refresh is off." };
  if (!live) return { kind: "idle", words: "Past range", detail: `Asked at ${isoClock(goodAt)}.` };
  return { kind: "ok", words: `Live, ${isoClock(goodAt)}`, detail: `Refreshed ${age(old)} ago` };
}

/** Shows it; a change for the worse or back is spoken. */
export class Indicator {
  constructor() {
    this.words = el("span", {});
    this.node = el("div", { class: "fresh wait" }, el("span", { class: "dot", "aria-hidden": "true" }), this.words);
    this.alarm = el("div", { class: "alarm", role: "alert", hidden: true });
    this.kind = "wait";
  }

  /** Show these facts. */
  set(facts) {
    const { kind, words, detail } = freshness(facts);
    if (this.words.textContent !== words) this.words.textContent = words;
    this.node.title = detail;
    this.node.className = `fresh ${kind}`;
    const bad = kind === "down" || (kind === "stale" && facts.failed === 0);
    if (bad !== !this.alarm.hidden || (bad && kind !== this.kind)) {
      this.alarm.hidden = !bad;
      const shown = facts.goodAt === null ? "Nothing could be shown" : `What is shown is of ${isoClock(facts.goodAt)}`;
      if (bad) fill(this.alarm, icon("warning"), el("strong", {}, kind === "down" ? "The store does not answer." : "Stale."),
        el("span", {}, kind === "down" ? `${shown}: ${facts.down}` : `${shown}. ${detail}`));
    }
    this.kind = kind;
  }
}
