// Answers of the store -> series and tables, named as Grafana names them.

/**
 * @typedef {{name: string, type: string}} Column
 * @typedef {{ref: string, columns?: Column[], rows?: any[][], error?: string, interval_ms?: number, sql?: string}} Frame
 * @typedef {{name: string, labels: Record<string, string>, ref: string, kind: "number"|"time"|"text",
 *   times?: number[], values: any[]}} Field
 */

const NUMBER = /^(U?Int|Float|BFloat|Decimal)/;
const TIME = /^Date/;

/** What a ClickHouse type is to us. */
export function kindOf(type) {
  const bare = type.replace(/^(?:(?:Nullable|LowCardinality|SimpleAggregateFunction\(\w+, ?)\(?)+/, "");
  if (NUMBER.test(bare)) return "number";
  return TIME.test(bare) ? "time" : "text";
}

function columnValues(frame, at) {
  return frame.rows.map((row) => row[at]);
}

/**
 * The value columns of a frame whose rows are points: one series for each set of labels, all over the same times.
 * A point that a series lacks is null: a gap, not a line across.
 * @returns {Field[]}
 */
export function seriesOf(frame) {
  const kinds = frame.columns.map((column) => kindOf(column.type));
  const time = kinds.indexOf("time");
  if (time < 0) throw new Error(`query ${frame.ref}: a time series wants a column of times; it has none`);
  const labels = frame.columns.flatMap((_, at) => (kinds[at] === "text" ? [at] : []));
  const values = frame.columns.flatMap((_, at) => (kinds[at] === "number" ? [at] : []));
  const times = [...new Set(columnValues(frame, time))].filter((when) => when !== null).sort((a, b) => a - b);
  const places = new Map(times.map((when, at) => [when, at]));
  const found = new Map();
  for (const row of frame.rows) {
    const place = places.get(row[time]);
    if (place === undefined) continue;
    const key = JSON.stringify(labels.map((at) => row[at]));
    if (!found.has(key)) {
      const named = Object.fromEntries(labels.map((at) => [frame.columns[at].name, String(row[at] ?? "")]));
      found.set(key, values.map((at) => ({ name: frame.columns[at].name, labels: named, ref: frame.ref, kind: "number",
        times, values: new Array(times.length).fill(null) })));
    }
    found.get(key).forEach((series, at) => { series.values[place] = row[values[at]]; });
  }
  return [...found.values()].flat();
}

/**
 * The columns of a frame.
 * @returns {Field[]}
 */
export function columnsOf(frame) {
  return frame.columns.map((column, at) => ({ name: column.name, labels: {}, ref: frame.ref, kind: kindOf(column.type),
    values: columnValues(frame, at) }));
}

/** The only label that all series have, or null: then a series is told by the label's value alone. */
function singleLabel(fields) {
  const names = new Set(fields.flatMap((field) => Object.keys(field.labels)));
  return names.size === 1 ? [...names][0] : null;
}

/** The name of a field that nothing was configured for. */
export function plainName(field, all) {
  const parts = field.name && field.name !== "Value" ? [field.name] : [];
  const single = singleLabel(all);
  if (single) {
    if (field.labels[single]) parts.push(field.labels[single]);
  } else if (Object.keys(field.labels).length) {
    parts.push(`{${Object.entries(field.labels).map(([name, value]) => `${name}="${value}"`).join(", ")}}`);
  }
  return parts.join(" ") || "Value";
}

/** The name by a template: ${__field.name}, ${__field.labels.x}, ${__field.labels["x"]}. */
export function templateName(template, field, all) {
  return template.replace(/\$\{__field\.(?:(name)|(displayName)|labels(?:\.([\w-]+)|\["([^"\]]+)"\])|(labels))\}/g,
    (_, name, display, one, other) => {
      if (name) return field.name;
      if (display) return plainName(field, all);
      if (one ?? other) return field.labels[one ?? other] ?? "";
      return Object.values(field.labels).join(", ");
    }).trim();
}

const numbers = (values) => values.filter((value) => typeof value === "number" && Number.isFinite(value));

const REDUCERS = {
  last: (values) => values.at(-1) ?? null,
  lastNotNull: (values) => values.findLast((value) => value !== null && value !== undefined) ?? null,
  first: (values) => values[0] ?? null,
  firstNotNull: (values) => values.find((value) => value !== null && value !== undefined) ?? null,
  mean: (values) => { const all = numbers(values); return all.length ? sum(all) / all.length : null; },
  sum: (values) => { const all = numbers(values); return all.length ? sum(all) : null; },
  min: (values) => numbers(values).reduce((a, b) => (a === null || b < a ? b : a), null),
  max: (values) => numbers(values).reduce((a, b) => (a === null || b > a ? b : a), null),
  range: (values) => { const most = REDUCERS.max(values); return most === null ? null : most - REDUCERS.min(values); },
  delta: (values) => { const all = numbers(values); return all.length ? all.at(-1) - all[0] : null; },
  diff: (values) => REDUCERS.delta(values),
  count: (values) => values.length,
};
const WORDS = { lastNotNull: "Last", last: "Last", firstNotNull: "First", first: "First", mean: "Mean", sum: "Total",
  min: "Min", max: "Max", range: "Range", delta: "Delta", diff: "Difference", count: "Count" };

function sum(values) {
  return values.reduce((a, b) => a + b, 0);
}

/** One value of many, by Grafana's name of the way; null when there is none. */
export function reduced(values, how) {
  return (REDUCERS[how] ?? REDUCERS.lastNotNull)(values);
}

/** What a way of reducing is called in a legend's head. */
export function reducerWord(how) {
  return WORDS[how] ?? how;
}
