// Where panels stand: Grafana's grid of 24 columns, parted by rows that fold.

import { el, icon } from "./dom.js";

/**
 * Panels by the row they stand under; the first part may have none.
 * @returns {{row: any|null, panels: any[]}[]}
 */
export function partsOf(panels) {
  const inOrder = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  const parts = [{ row: null, panels: [] }];
  for (const panel of inOrder) {
    if (panel.type === "row") parts.push({ row: panel, panels: [...(panel.panels ?? [])] });
    else parts.at(-1).panels.push(panel);
  }
  return parts.filter(({ row, panels: members }) => row || members.length);
}

/** The lowest end of panels that stand from `top` on, in rows of the grid. */
export function rowsOf(panels) {
  const top = Math.min(...panels.map(({ gridPos }) => gridPos.y));
  return panels.length ? Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) - top : 0;
}

/** Build the parts; `make(definition)` gives a panel's element. */
export function buildGrid(root, panels, make, toggled) {
  for (const { row, panels: members } of partsOf(panels)) {
    const grid = el("div", { class: "grid" });
    const top = Math.min(...members.map(({ gridPos }) => gridPos.y));
    for (const definition of members) {
      const { x, y, w, h } = definition.gridPos;
      const node = make(definition);
      for (const [name, value] of Object.entries({ "--x": x + 1, "--w": w, "--y": y - top + 1, "--h": h })) {
        node.style.setProperty(name, value);
      }
      grid.append(node);
    }
    if (!row) root.append(grid);
    else root.append(...folding(row, grid, toggled));
  }
}

function folding(row, grid, toggled) {
  grid.id = `row-${row.id}`;
  grid.hidden = !!row.collapsed;
  const button = el("button", { type: "button", class: "row-button", "aria-expanded": String(!row.collapsed), "aria-controls": grid.id,
    on: { click: () => {
      grid.hidden = !grid.hidden;
      button.setAttribute("aria-expanded", String(!grid.hidden));
      toggled();
    } } }, icon("down"), row.title || "Row");
  return [el("h2", { class: "row-head" }, button), grid];
}
