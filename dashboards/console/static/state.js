// What the address bar holds.  A link to it shows the same thing to someone else; nothing else is remembered.

/**
 * @typedef {{page: "dashboard"|"sql"|"alerts", uid: string, from: string, to: string, refresh: string|null,
 *   variables: Record<string, string[]>, theme: ""|"dark"|"light", wall: boolean, view: number|null}} State
 */

const PAGES = { "/sql": "sql", "/alerts": "alerts" };

export const REFRESH = ["", "5s", "10s", "30s", "1m"];

/**
 * The state of an address.  Empty `from`, `to` and null `refresh` mean: as the dashboard has it.
 * @returns {State}
 */
export function readAddress(path, search) {
  const fields = new URLSearchParams(search);
  const found = /^\/d\/([^/]+)\/?$/.exec(path);
  const variables = {};
  for (const [name, value] of fields) {
    if (name.startsWith("var-")) (variables[name.slice(4)] ??= []).push(value);
  }
  const refresh = fields.get("refresh");
  const theme = fields.get("theme");
  const view = Number(fields.get("view"));
  return {
    page: PAGES[path.replace(/\/$/, "")] ?? "dashboard",
    uid: found ? decoded(found[1]) : "",
    from: fields.get("from") ?? "",
    to: fields.get("to") ?? "",
    refresh: refresh === null ? null : refresh === "off" ? "" : REFRESH.includes(refresh) ? refresh : null,
    variables,
    theme: theme === "dark" || theme === "light" ? theme : "",
    wall: fields.get("wall") === "1",
    view: Number.isInteger(view) && view > 0 ? view : null,
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % is no reason to show nothing
  }
}

/** The address of a state; the parts that are as the dashboard has them are left out. */
export function writeAddress(state) {
  const fields = new URLSearchParams();
  if (state.page === "dashboard") {
    if (state.from) fields.set("from", state.from);
    if (state.to) fields.set("to", state.to);
    if (state.refresh !== null) fields.set("refresh", state.refresh || "off");
    for (const [name, values] of Object.entries(state.variables)) {
      for (const value of values) fields.append(`var-${name}`, value);
    }
    if (state.view) fields.set("view", String(state.view));
    if (state.wall) fields.set("wall", "1");
  }
  if (state.theme) fields.set("theme", state.theme);
  const path = state.page !== "dashboard" ? `/${state.page}` : `/d/${encodeURIComponent(state.uid)}`;
  const query = fields.toString();
  return query ? `${path}?${query}` : path;
}

/** The SQL page's text and parameters live behind the #: no server log has them, and no limit of a request line. */
export function readQueryLink(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const parameters = {};
  for (const [name, value] of fields) if (name.startsWith("param_")) parameters[name.slice(6)] = value;
  return { query: fields.get("query") ?? "", sql: fields.get("sql") ?? "", parameters };
}

/** The part behind the #, with its #. */
export function writeQueryLink({ query, sql, parameters }) {
  const fields = new URLSearchParams();
  if (query) fields.set("query", query);
  if (sql) fields.set("sql", sql);
  for (const [name, value] of Object.entries(parameters)) fields.set(`param_${name}`, value);
  return `#${fields}`;
}
