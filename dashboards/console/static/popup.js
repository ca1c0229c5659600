// What opens beside a button and goes with Escape, a click elsewhere or when the focus leaves: menus, choices, notes.

import { el } from "./dom.js";

let open = null;
let numbers = 0;

/** Close what is open; nothing happens when nothing is. */
export function closePopup(returnFocus = false) {
  if (!open) return;
  const { button, box, closed } = open;
  open = null;
  box.hidden = true;
  button.setAttribute("aria-expanded", "false");
  if (returnFocus) button.focus();
  closed?.();
}

/** With the first box, so that what needs no page can be imported without one. */
function listen() {
  document.addEventListener("pointerdown", (event) => {
    if (open && !open.box.contains(event.target) && !open.button.contains(event.target)) closePopup();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && open) {
      event.stopPropagation();
      closePopup(true);
    }
  }, true);
}

/**
 * A button with a box that it opens.  `content` is asked for each time it opens.
 * @param {{role?: string, label?: string, wide?: boolean, closed?: () => void}} [how]
 * @returns {HTMLElement} both in one element
 */
export function popup(button, content, how = {}) {
  if (!numbers) listen();
  numbers += 1;
  const id = `popup-${numbers}`;
  const box = el("div", { class: `popup${how.wide ? " wide" : ""}`, id, role: how.role ?? "dialog",
    "aria-label": how.label, hidden: true });
  button.setAttribute("aria-expanded", "false");
  button.setAttribute("aria-controls", id);
  button.setAttribute("aria-haspopup", how.role ?? "dialog");
  const node = el("div", { class: "popup-place" }, button, box);
  const show = (focus) => {
    closePopup();
    box.replaceChildren(...[content()].flat());
    box.hidden = false;
    button.setAttribute("aria-expanded", "true");
    open = { button, box, closed: how.closed };
    keepInside(box);
    if (focus) box.querySelector("input, button, select, textarea, a[href], [tabindex]")?.focus();
  };
  button.addEventListener("click", (event) => {
    if (open?.box === box) closePopup();
    else show(event.detail === 0 || how.role === "menu"); // detail 0: by key, so the focus goes along
  });
  if (how.role === "menu") menuKeys(button, box, show);
  node.addEventListener("focusout", (event) => {
    if (open?.box === box && event.relatedTarget && !node.contains(event.relatedTarget)) closePopup();
  });
  return node;
}

function keepInside(box) {
  box.style.removeProperty("transform");
  const { left, right } = box.getBoundingClientRect();
  const over = right > document.documentElement.clientWidth - 8 ? document.documentElement.clientWidth - 8 - right : Math.max(0, 8 - left);
  if (over) box.style.transform = `translateX(${over}px)`;
}

function menuKeys(button, box, show) {
  button.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      show(true);
    }
  });
  box.addEventListener("keydown", (event) => {
    const items = [...box.querySelectorAll("[role=menuitem]")];
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    items[(next + items.length) % items.length]?.focus();
  });
}

/** An entry of a menu; `act` is a function or an address. */
export function menuItem(words, act, attributes = {}) {
  if (typeof act === "string") {
    return el("a", { class: "item", role: "menuitem", href: act, ...attributes, on: { click: () => closePopup() } }, words);
  }
  return el("button", { type: "button", class: "item", role: "menuitem", ...attributes,
    on: { click: () => { closePopup(true); act(); } } }, words);
}

/** A box in the middle of the page that must be closed before all else. */
export function dialog(title, ...children) {
  const close = el("button", { type: "button", class: "button", on: { click: () => node.close() } }, "Close");
  const node = el("dialog", { class: "dialog", "aria-label": title },
    el("div", { class: "dialog-head" }, el("h2", {}, title), close), ...children);
  node.addEventListener("close", () => node.remove());
  document.body.append(node);
  node.showModal();
  return node;
}
