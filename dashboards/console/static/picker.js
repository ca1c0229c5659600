// The time range: quick ranges, two text fields, and earlier, later and out beside them.

import { closePopup, popup } from "./popup.js";
import { el, fill, icon, iconButton } from "./dom.js";
import { QUICK, describe, isLive, resolveRange } from "./time.js";
import { isoTime } from "./units.js";

/** The zone of the viewer's clock, in words. */
export function viewerZone(now = new Date()) {
  const minutes = -now.getTimezoneOffset();
  const size = Math.abs(minutes);
  const offset = `UTC${minutes < 0 ? "−" : "+"}${Math.floor(size / 60)}${size % 60 ? `:${String(size % 60).padStart(2, "0")}` : ""}`;
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name && name !== "UTC" ? `${name} (${offset})` : "UTC";
}

/** Two boundaries as they are shown in the fields. */
function shownSide(text) {
  return /^\d+$/.test(text) ? isoTime(Number(text)) : text;
}

export class Picker {
  /** @param {{pick: (from: string, to: string) => void, shift: (direction: number) => void, zoomOut: () => void}} acts */
  constructor(acts, storeZone) {
    this.acts = acts;
    this.storeZone = storeZone;
    this.range = { from: "now-1h", to: "now" };
    this.words = el("span", { class: "range-words" });
    this.button = el("button", { type: "button", class: "button range" }, icon("clock"), this.words, icon("down"));
    this.node = el("div", { class: "group", role: "group", "aria-label": "Time range" },
      iconButton("back", "Earlier", () => acts.shift(-1)),
      popup(this.button, () => this._content(), { label: "Choose a time range", wide: true }),
      iconButton("forward", "Later", () => acts.shift(1)),
      iconButton("zoomOut", "Zoom out", () => acts.zoomOut()));
  }

  /** Show this range. */
  set(from, to) {
    this.range = { from, to };
    const words = describe(from, to, isoTime);
    this.words.textContent = words;
    this.button.setAttribute("aria-label", `Time range: ${words}`);
    this.button.title = `${words}, ${viewerZone()}`;
  }

  _content() {
    const { from, to } = this.range;
    const pick = (since, until) => { closePopup(true); this.acts.pick(since, until); };
    const quick = QUICK.map(([since, until, label]) => el("li", {}, el("button", { type: "button", class: "item",
      "aria-current": since === from && until === to ? "true" : null, on: { click: () => pick(since, until) } }, label)));
    const field = (id, label, value) => [el("label", { for: id }, label), el("input", { id, type: "text", value,
      autocomplete: "off", spellcheck: "false", "aria-describedby": "range-hint range-error" })];
    const problem = el("p", { class: "form-error", id: "range-error", role: "alert" });
    const form = el("form", { class: "range-form" }, el("h2", {}, "From and to"),
      field("range-from", "From", shownSide(from)), field("range-to", "To", shownSide(to)),
      el("p", { class: "hint", id: "range-hint" }, "2026-09-21 13:00, now-2h, now-1d/d"), problem,
      el("button", { type: "submit", class: "button primary" }, "Apply"),
      el("p", { class: "hint" }, `Times are shown in ${viewerZone()}.`),
      this.storeZone ? el("p", { class: "hint" }, `Days and hours in tables are of ${this.storeZone}.`) : null);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = ["from", "to"].map((side) => form.querySelector(`#range-${side}`).value.trim());
      const range = resolveRange(...given, Date.now());
      if (!range) {
        problem.textContent = "The range has no sense or no length: write a time as in the line above, from before to.";
        form.querySelector("#range-from").focus();
        return;
      }
      // A time of day means the viewer's clock; as a number it means the same to everybody who gets the link.
      pick(given[0].startsWith("now") ? given[0] : String(range.from), isLive(given[1]) ? given[1] : String(range.to));
    });
    return el("div", { class: "range-box" }, form, el("div", {}, el("h2", {}, "Quick ranges"), fill(el("ul", { class: "plain" }), quick)));
  }
}
