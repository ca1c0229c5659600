// Text panels: words of the dashboard's author.

import { el } from "./dom.js";
import { blocks } from "./markdown.js";

function run({ kind, text, target }) {
  if (kind === "bold") return el("strong", {}, text);
  if (kind === "code") return el("code", {}, text);
  if (kind === "link") return el("a", { href: target, rel: "noreferrer" }, text);
  return document.createTextNode(text);
}

/** The text as elements. */
export function textNodes(markdown) {
  const nodes = [];
  for (const { kind, runs } of blocks(markdown)) {
    const node = el(kind === "h" ? "h3" : kind, {}, runs.map(run));
    if (kind !== "li") nodes.push(node);
    else if (nodes.at(-1)?.tagName === "UL") nodes.at(-1).append(node);
    else nodes.push(el("ul", {}, node));
  }
  return nodes;
}
