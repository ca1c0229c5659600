import assert from "node:assert/strict";
import { test } from "node:test";

import { contrast, meaningOf, readable } from "../../../dashboards/console/static/colors.js";
import { configured, mappingOf, shown, thresholdOf } from "../../../dashboards/console/static/fields.js";
import { columnsOf, kindOf, plainName, reduced, seriesOf } from "../../../dashboards/console/static/frames.js";
import { afterClick } from "../../../dashboards/console/static/legend.js";
import { freshness } from "../../../dashboards/console/static/freshness.js";
import { blocks } from "../../../dashboards/console/static/markdown.js";
import { order } from "../../../dashboards/console/static/table.js";
import { afterTick, wordsOf } from "../../../dashboards/console/static/variables.js";
import { statValues } from "../../../dashboards/console/static/stat.js";

const LONG = { ref: "A", columns: [{ name: "time", type: "DateTime('UTC')" }, { name: "bucket", type: "LowCardinality(String)" },
  { name: "v", type: "Nullable(Float64)" }], rows: [[1000, "tcp/443", 5], [1000, "udp/443", 7], [3000, "udp/443", 9]] };

test("kinds of ClickHouse's types", () => {
  for (const [type, kind] of [["UInt64", "number"], ["Nullable(Float64)", "number"], ["Decimal(9, 2)", "number"],
    ["DateTime64(3)", "time"], ["Nullable(DateTime('UTC'))", "time"], ["Date", "time"], ["String", "text"],
    ["LowCardinality(Nullable(String))", "text"], ["Array(UInt8)", "text"], ["Enum8('a' = 1)", "text"]]) {
    assert.equal(kindOf(type), kind, type);
  }
});

test("rows become one series a label, and what is lacking is null", () => {
  const series = seriesOf(LONG);
  assert.deepEqual(series.map(({ labels, times, values }) => [labels.bucket, times, values]),
    [["tcp/443", [1000, 3000], [5, null]], ["udp/443", [1000, 3000], [7, 9]]]);
  assert.throws(() => seriesOf({ ref: "A", columns: [{ name: "v", type: "UInt8" }], rows: [[1]] }), /column of times/);
});

test("names as Grafana makes them", () => {
  const series = seriesOf(LONG);
  assert.equal(plainName(series[0], series), "v tcp/443");
  const two = [{ name: "v", labels: { a: "1", b: "2" } }, { name: "v", labels: { a: "1", b: "3" } }];
  assert.equal(plainName(two[0], two), 'v {a="1", b="2"}');
  const panel = { fieldConfig: { defaults: { displayName: "${__field.labels.bucket} (${__field.name})" } } };
  assert.deepEqual(configured(panel, series).map(({ displayName }) => displayName), ["tcp/443 (v)", "udp/443 (v)"]);
});

test("overrides by name, pattern and query", () => {
  const fields = columnsOf({ ref: "B", columns: [{ name: "octets", type: "UInt64" }, { name: "share", type: "Float64" }], rows: [] });
  const panel = { fieldConfig: { defaults: { unit: "short", custom: { align: "auto" } }, overrides: [
    { matcher: { id: "byName", options: "octets" }, properties: [{ id: "unit", value: "decbytes" }] },
    { matcher: { id: "byRegexp", options: "/^sh.*/" }, properties: [{ id: "custom.cellOptions", value: { type: "gauge" } },
      { id: "displayName", value: "part" }] },
    { matcher: { id: "byFrameRefID", options: "B" }, properties: [{ id: "decimals", value: 2 }] },
    { matcher: { id: "byFrameRefID", options: "A" }, properties: [{ id: "decimals", value: 9 }] },
    { matcher: { id: "byRegexp", options: "/(/" }, properties: [{ id: "unit", value: "wrong" }] }] } };
  const [octets, share] = configured(panel, fields);
  assert.deepEqual([octets.unit, octets.decimals, octets.displayName], ["decbytes", 2, "octets"]);
  assert.deepEqual([share.unit, share.custom, share.displayName], ["short", { align: "auto", cellOptions: { type: "gauge" } }, "part"]);
  assert.deepEqual(panel.fieldConfig.defaults.custom, { align: "auto" });
});

test("a threshold is reached, not passed", () => {
  const thresholds = { steps: [{ value: null, color: "green" }, { value: 180, color: "orange" }, { value: 600, color: "red" }] };
  assert.deepEqual([-5, 179.9, 180, 600, 1e9].map((value) => thresholdOf(value, thresholds).color),
    ["green", "green", "orange", "red", "red"]);
});

test("mappings: value, range, special; numbers and texts", () => {
  const mappings = [{ type: "value", options: { 0: { text: "off", color: "red" }, up: { text: "UP" } } },
    { type: "range", options: { from: 10, to: 20, result: { text: "teens" } } },
    { type: "special", options: { match: "null", result: { text: "nothing" } } }];
  assert.deepEqual([0, "up", 10, 20, null, 21].map((value) => mappingOf(value, mappings)?.text ?? "-"),
    ["off", "UP", "teens", "teens", "nothing", "-"]);
  const config = { mappings, unit: "bps", noValue: "silent" };
  assert.equal(shown(21, config, "dark").text, "21");
  assert.equal(shown(null, { unit: "bps", noValue: "silent" }, "dark").text, "silent");
});

test("reducing", () => {
  const values = [4, null, 1, 7, null];
  assert.deepEqual(["lastNotNull", "last", "mean", "max", "min", "sum", "count"].map((how) => reduced(values, how)),
    [7, null, 4, 7, 1, 12, 5]);
  assert.equal(reduced([null], "mean"), null);
  assert.equal(reduced([-3, -5], "max"), -3);
});

test("stat: one value a column of a table, one a series", () => {
  const panel = { targets: [{ refId: "A", format: 1 }], options: { reduceOptions: { calcs: ["lastNotNull"], fields: "" } } };
  const frame = { ref: "A", columns: [{ name: "when", type: "DateTime" }, { name: "a", type: "Int64" }, { name: "who", type: "String" },
    { name: "b", type: "Int64" }], rows: [[1, 2, "x", 3]] };
  assert.deepEqual(statValues(panel, [frame]).map(({ name, value }) => [name, value]), [["a", 2], ["b", 3]]);
  panel.options.reduceOptions.fields = "/^who$/";
  assert.deepEqual(statValues(panel, [frame]).map(({ value }) => value), ["x"]);
  assert.deepEqual(statValues({ targets: [{ refId: "A", format: 0 }] }, [LONG]).map(({ value }) => value), [5, 9]);
});

test("sorting leaves nothing for last and 10 behind 9", () => {
  assert.deepEqual(order([3, null, 1, 2], true), [0, 3, 2, 1]);
  assert.deepEqual(order([3, null, 1, 2], false), [2, 3, 0, 1]);
  assert.deepEqual(order(["port 10", "port 9", ""], false), [1, 0, 2]);
});

test("colours can be read, and mean something without being seen", () => {
  assert.equal(Math.round(contrast("#000000", "#ffffff")), 21);
  assert.ok(Math.abs(contrast("#767676", "#ffffff") - 4.54) < 0.01); // the known least grey on white
  for (const color of ["#3d9a50", "#e0a200", "#e02f44", "#73bf69"]) {
    for (const ground of ["#161a20", "#ffffff"]) assert.ok(contrast(readable(color, ground), ground) >= 4.5, `${color} on ${ground}`);
  }
  assert.deepEqual(["green", "dark-red", "#e0a200", "#e02f44", "#3d9a50", "#1f60c4", "text"].map(meaningOf),
    ["ok", "alert", "warning", "alert", "ok", "", ""]);
});

test("a legend's clicks: alone, all again, one away", () => {
  const names = ["a", "b", "c"];
  assert.deepEqual([...afterClick(new Set(), names, "a", false)], ["b", "c"]);
  assert.deepEqual([...afterClick(new Set(["b", "c"]), names, "a", false)], []);
  assert.deepEqual([...afterClick(new Set(["b", "c"]), names, "b", false)], ["a", "c"]);
  assert.deepEqual([...afterClick(new Set(["b"]), names, "c", true)], ["b", "c"]);
  assert.deepEqual([...afterClick(new Set(["b"]), names, "b", true)], []);
});

test("choices are never none", () => {
  const variable = { multi: true, include_all: true, options: [{ text: "Fixed", value: "fixed" }, { text: "Mobile", value: "mobile" }] };
  assert.deepEqual(afterTick(variable, ["$__all"], "fixed", true), ["fixed"]);
  assert.deepEqual(afterTick(variable, ["fixed"], "mobile", true), ["fixed", "mobile"]);
  assert.deepEqual(afterTick(variable, ["fixed"], "fixed", false), ["$__all"]);
  assert.deepEqual(afterTick({ ...variable, include_all: false }, ["fixed"], "fixed", false), ["fixed"]);
  assert.deepEqual(afterTick(variable, ["fixed"], "$__all", true), ["$__all"]);
  assert.equal(wordsOf(variable, ["fixed", "mobile"]), "Fixed + Mobile");
  assert.equal(wordsOf(variable, ["$__all"]), "All");
});

test("what is old says so", () => {
  const facts = { now: 100_000, goodAt: 98_000, refreshMs: 5000, live: true, down: null, failed: 0, asking: false };
  const kind = (patch) => freshness({ ...facts, ...patch }).kind;
  assert.equal(kind({}), "ok");
  assert.equal(kind({ goodAt: 84_000 }), "stale");
  assert.equal(kind({ goodAt: 84_000, refreshMs: 60_000 }), "ok");
  assert.equal(kind({ goodAt: 1, refreshMs: 0 }), "idle");
  assert.equal(kind({ live: false }), "idle");
  assert.equal(kind({ down: "refused" }), "down");
  assert.equal(kind({ failed: 2 }), "stale");
  assert.equal(kind({ goodAt: null }), "wait");
  assert.match(freshness({ ...facts, down: "refused" }).words, /does not answer/);
  assert.match(freshness({ ...facts, down: "refused" }).detail, /refused.*2 s ago/);
});

test("markdown makes words, and no link but http and ours", () => {
  assert.deepEqual(blocks("# Head\nTwo **bold**\nlines\n\n- `a`\n- [b](/d/noc) [c](javascript:alert(1))"), [
    { kind: "h", runs: [{ kind: "text", text: "Head" }] },
    { kind: "p", runs: [{ kind: "text", text: "Two " }, { kind: "bold", text: "bold" }, { kind: "text", text: " lines" }] },
    { kind: "li", runs: [{ kind: "code", text: "a" }] },
    { kind: "li", runs: [{ kind: "link", text: "b", target: "/d/noc" }, { kind: "text", text: " " },
      { kind: "text", text: "c" }, { kind: "text", text: ")" }] }]);
  assert.deepEqual(blocks("<img src=x onerror=alert(1)>")[0].runs, [{ kind: "text", text: "<img src=x onerror=alert(1)>" }]);
  assert.deepEqual(blocks("[x](//evil.example)")[0].runs, [{ kind: "text", text: "x" }]);
});
