import assert from "node:assert/strict";
import { test } from "node:test";

import { bySeverity, labelWords, lasted, panelLink, stateOf, summary, valueWords, worst } from "../../../dashboards/console/static/alerts.js";
import { badgeOf } from "../../../dashboards/console/static/badge.js";
import { markShapes, marksAt, marksOf } from "../../../dashboards/console/static/marks.js";

const rule = (severity, state, ...states) => ({ severity, state, instances: states.map((one) => ({ state: one, silenced: "" })) });

test("a rule is as bad as its worst instance, and an error hides nothing that fires", () => {
  assert.equal(worst(rule("warn", "normal", "normal", "pending")), "pending");
  assert.equal(worst(rule("warn", "error", "firing")), "firing");
  assert.equal(worst(rule("warn", "unknown")), "unknown");
  assert.equal(worst(rule("warn", "nodata", "normal")), "nodata");
  assert.equal(worst(rule("warn", "melting")), "melting"); // of a newer evaluator: never taken for normal
  assert.equal(stateOf("melting").words, "melting");
});

test("severities in order, what needs a look first, and none is lost", () => {
  const [quiet, firing, odd, page] = [rule("warn", "normal"), rule("warn", "firing", "firing"), rule("critical", "normal"),
    rule("page", "normal")];
  const groups = bySeverity([quiet, odd, firing, page]);
  assert.deepEqual(groups.map(({ severity }) => severity), ["page", "warn", ""]);
  assert.deepEqual(groups[1].rules, [firing, quiet]);
  assert.deepEqual(groups[2].rules, [odd]);
});

test("what is said in one line", () => {
  assert.equal(summary([rule("warn", "normal", "normal")]), "nothing fires");
  const silenced = rule("warn", "firing", "firing", "firing");
  silenced.instances[1].silenced = "0123abcd";
  assert.equal(summary([silenced, rule("info", "nodata"), rule("page", "error"), rule("page", "error")]),
    "2 firing (1 silenced), 2 rules in error, 1 rule without a judgement");
  assert.equal(summary([rule("page", "unknown")]), "1 rule not evaluated yet");
  assert.equal(labelWords({ service: "fixed", exporter: "", severity: "warn", rule: "R1" }), "service=fixed");
  assert.equal(labelWords({}), "all");
  assert.equal(valueWords({ Q: 0.3123456, N: 24310 }), "Q = 0.3123, N = 24310");
  assert.deepEqual([59, 61, 3000].map((minutes) => lasted(minutes * 60_000)), ["59 min", "1 h 1 min", "2 days"]);
});

test("a rule leads to its panel", () => {
  assert.equal(panelLink({ annotations: { __dashboardUid__: "noc", __panelId__: "10" } }), "/d/noc?view=10");
  assert.equal(panelLink({ annotations: { __dashboardUid__: "a/b" } }), "/d/a%2Fb");
  assert.equal(panelLink({ annotations: {} }), null);
});

test("the count in the bar: no number is never silence of the evaluator", () => {
  const told = { running: true, wanted: true, problem: "", firing: {} };
  assert.equal(badgeOf(told), null);
  assert.deepEqual(badgeOf({ ...told, firing: { warn: 2, page: 1, info: 9 } }),
    { kind: "page", text: "3", words: "1 page, 2 warn firing" });
  assert.equal(badgeOf({ ...told, firing: { info: 9 } }), null);
  assert.equal(badgeOf({ ...told, problem: "12 minutes ago" }).text, "?");
  assert.equal(badgeOf({ ...told, running: false }).text, "?");
  assert.equal(badgeOf({ ...told, running: false, wanted: false }), null);
});

test("marks: one that lasts beyond the range is the same with the next refresh", () => {
  const event = (time, timeEnd) => ({ time, timeEnd, title: "R1", text: "rose", tags: [] });
  const before = marksOf([{ color: "red", events: [event(50, 100), event(10, 20)] }], 100);
  const after = marksOf([{ color: "red", events: [event(50, 105), event(10, 20)] }], 105);
  assert.deepEqual(before, after);
  assert.deepEqual(before.map(({ time }) => time), [10, 50]);
  assert.match(before[1].spanWords, /^since /);
  assert.match(before[0].spanWords, / to /);
});

test("marks at a time, and as shapes within the range", () => {
  const marks = marksOf([{ color: "#e02f44", events: [{ time: 10, timeEnd: 10, title: "a" }, { time: 40, timeEnd: 60, title: "b" }] }], 1000);
  assert.deepEqual(marksAt(marks, 12, 3).map(({ title }) => title), ["a"]);
  assert.deepEqual(marksAt(marks, 50, 3).map(({ title }) => title), ["b"]);
  assert.deepEqual(marksAt(marks, 30, 3), []);
  const frame = { from: 0, to: 50, ground: "#161a20", colorOf: (name) => name };
  const shapes = markShapes(marks, frame);
  assert.deepEqual(shapes.map(({ type, x0, x1 }) => [type, x0, x1]), [["line", 10, 10], ["rect", 40, 50], ["line", 40, 40]]);
  assert.deepEqual(markShapes(marks, { ...frame, from: 61, to: 90 }), []);
});
