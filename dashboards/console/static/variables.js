// The choices of a dashboard: one of a list in a select, several as boxes in a list that opens.

import { el } from "./dom.js";
import { popup } from "./popup.js";

export const ALL = "$__all";
const SEARCH_FROM = 9; // options; fewer are seen at once

/** What a choice reads. */
export function wordsOf(variable, chosen) {
  if (chosen.includes(ALL)) return "All";
  const text = (value) => variable.options.find((option) => option.value === value)?.text ?? value;
  return chosen.length > 2 ? `${chosen.length} chosen` : chosen.map(text).join(" + ") || "none";
}

/** What is chosen after a box was ticked or cleared; never nothing. */
export function afterTick(variable, chosen, value, ticked) {
  if (value === ALL) return ticked || chosen.length === 0 ? [ALL] : chosen;
  const others = chosen.filter((one) => one !== ALL && one !== value);
  const next = ticked ? [...others, value] : others;
  if (next.length) return next;
  return variable.include_all ? [ALL] : chosen;
}

/**
 * The control of one variable.
 * @param {{label: string, multi: boolean, include_all: boolean, options: {text: string, value: string}[]}} variable
 * @param {() => string[]} chosen
 * @param {(values: string[]) => void} choose
 * @returns {{node: HTMLElement, update: () => void}}
 */
export function variableControl(name, variable, chosen, choose) {
  return variable.multi ? several(name, variable, chosen, choose) : single(name, variable, chosen, choose);
}

function withAll(variable) {
  const own = variable.options.filter(({ value }) => value !== ALL);
  return variable.include_all ? [{ text: "All", value: ALL }, ...own] : own;
}

function single(name, variable, chosen, choose) {
  const id = `var-${name}`;
  const select = el("select", { id, on: { change: () => choose([select.value]) } });
  const update = () => {
    const [now] = chosen();
    const options = withAll(variable);
    // A link may name what is not there (any more): it must be seen that it is chosen.
    if (now !== undefined && !options.some(({ value }) => value === now)) options.push({ text: `${now} (not there)`, value: now });
    select.replaceChildren(...options.map(({ text, value }) => el("option", { value, selected: value === now }, text)));
  };
  update();
  return { node: el("div", { class: "variable" }, el("label", { for: id }, variable.label), select), update };
}

function several(name, variable, chosen, choose) {
  const words = el("span", { class: "variable-words" });
  const button = el("button", { type: "button", class: "button", id: `var-${name}` }, words,
    el("span", { class: "caret", "aria-hidden": "true" }, "▾"));
  const update = () => {
    words.textContent = wordsOf(variable, chosen());
    button.setAttribute("aria-label", `${variable.label}: ${words.textContent}`);
  };
  const content = () => {
    const list = el("div", { class: "boxes", role: "group", "aria-label": variable.label });
    const show = () => {
      const now = chosen();
      const missing = now.filter((one) => one !== ALL && !variable.options.some(({ value }) => value === one));
      const options = [...withAll(variable), ...missing.map((value) => ({ text: `${value} (not there)`, value }))];
      for (const { text, value } of options) {
        const known = [...list.querySelectorAll("input")].find((input) => input.value === value);
        const input = known ?? el("input", { type: "checkbox", value });
        if (!known) {
          input.addEventListener("change", () => {
            choose(afterTick(variable, chosen(), value, input.checked));
            update();
            show();
          });
          list.append(el("label", { class: "box" }, input, el("span", {}, text)));
        }
        input.checked = now.includes(value);
      }
    };
    show();
    const search = el("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${variable.label}`,
      on: { input: () => {
        const wanted = search.value.toLowerCase();
        for (const box of list.children) box.hidden = !box.textContent.toLowerCase().includes(wanted);
      } } });
    return [variable.options.length >= SEARCH_FROM ? search : null, list].filter(Boolean);
  };
  update();
  return { node: el("div", { class: "variable" }, el("span", { class: "label", "aria-hidden": "true" }, variable.label),
    popup(button, content, { label: variable.label })), update };
}
