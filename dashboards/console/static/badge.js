// How many alerts fire, beside the word Alerts on every page.  Where nobody answers it says so: no number would read as none.

import * as api from "./api.js";
import { el, fill } from "./dom.js";

const EVERY_MS = 30_000;
const ORDER = ["page", "warn", "notice"];

/** What stands in the bar: {kind, text, words}; null for nothing. */
export function badgeOf({ running, wanted, problem, firing }) {
  if (!running) return wanted ? { kind: "unknown", text: "?", words: "alerts are not evaluated" } : null;
  const counted = ORDER.filter((severity) => firing[severity]);
  const count = counted.reduce((sum, severity) => sum + firing[severity], 0);
  if (!count) return problem ? { kind: "unknown", text: "?", words: "the evaluation of alerts has a problem" } : null;
  return { kind: counted[0], text: String(count), words: `${counted.map((severity) => `${firing[severity]} ${severity}`).join(", ")} firing` };
}

export class Badge {
  constructor() {
    this.words = el("span", { class: "spoken" });
    this.figure = el("span", { "aria-hidden": "true" });
    this.node = el("span", { class: "badge", hidden: true }, this.figure, this.words);
    setInterval(() => { if (!document.hidden) this.refresh(); }, EVERY_MS);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.refresh(); });
    this.refresh();
  }

  /** Ask again. */
  async refresh() {
    try {
      this.show(badgeOf(await api.firing()));
    } catch {
      this.show({ kind: "unknown", text: "?", words: "whether alerts fire is not known: the console does not answer" });
    }
  }

  /** Show it. */
  show(found) {
    this.node.hidden = !found;
    if (!found) return;
    this.node.className = `badge ${found.kind}`;
    this.node.title = found.words;
    fill(this.figure, found.text);
    fill(this.words, `, ${found.words}`);
  }
}
