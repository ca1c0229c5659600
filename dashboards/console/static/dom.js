// Building the page from nodes.  Data reaches the page only as text nodes and attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  back: "M10 3 5 8l5 5",
  forward: "M6 3l5 5-5 5",
  zoomOut: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.6 10.6 14 14M5 7h4",
  clock: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM8 4.5V8l2.5 1.5",
  refresh: "M13.5 8a5.5 5.5 0 1 1-1.7-4M13.5 1.5v3h-3",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13.5 9.6A6 6 0 0 1 6.4 2.5a6 6 0 1 0 7.1 7.1Z",
  wall: "M1.5 2.5h13v8.5h-13ZM5.5 14h5M8 11v3",
  link: "M6.5 9.5 9.5 6.5M7 4.5 8.6 3a3 3 0 0 1 4.3 4.3L11.5 9M9 11.5 7.4 13a3 3 0 0 1-4.3-4.3L4.5 7",
  info: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM8 7v4M8 4.7v.3",
  menu: "M8 3.2v.1M8 8v.1M8 12.7v.1",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  down: "M4 6l4 4 4-4",
  warning: "M8 2 1.5 13.5h13ZM8 6.5v3.2M8 11.6v.1",
  check: "M3 8.5 6.5 12 13 4.5",
};

/**
 * An element.  `on` holds listeners, `style` CSS properties, `class` and others are attributes; `true` is an empty
 * attribute, `false`, `null` and `undefined` none.
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** A drawn sign; it says nothing to a screen reader, whose words are in the button's label. */
export function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, path);
}

/** A button with a sign and a label that is spoken and shown as its title. */
export function iconButton(name, label, click, attributes = {}) {
  return el("button", { type: "button", class: "button quiet", "aria-label": label, title: label, on: { click },
    ...attributes }, icon(name));
}

/** Put these children in place of the old ones. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

let announcer = null;

/** Say it to a screen reader; nothing is seen. */
export function announce(text) {
  if (!announcer) {
    announcer = el("div", { class: "spoken", role: "status", "aria-live": "polite" });
    document.body.append(announcer);
  }
  announcer.textContent = text;
}
