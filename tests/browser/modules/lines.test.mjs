import assert from "node:assert/strict";
import { test } from "node:test";

import { figure } from "../../../dashboards/console/static/figure.js";
import { partsOf, rowsOf } from "../../../dashboards/console/static/grid.js";
import { bandsOf, corners, edge, lonely, nearest, outline, runsOf } from "../../../dashboards/console/static/lines.js";
import { tickTexts, timeScale, valueScale } from "../../../dashboards/console/static/ticks.js";

const line = (values, custom = {}, more = {}) => ({ name: "n", times: [0, 60, 120, 180].slice(0, values.length), values, color: "#ff0000",
  interval: 60, config: { unit: "bps", custom, ...more } });
const STACK = { stacking: { mode: "normal", group: "A" } };

test("a stack adds up; a gap of one is nothing, a gap of all stays one", () => {
  const bands = bandsOf([line([1, null, 3, null], STACK), line([10, 20, null, null], STACK)]);
  assert.deepEqual(bands.map(({ low, high }) => [low, high]), [
    [[0, 0, 0, null], [1, 0, 3, null]], [[1, 0, 3, null], [11, 20, 3, null]]]);
});

test("per cent of a stack end at one", () => {
  const share = { stacking: { mode: "percent", group: "A" } };
  const bands = bandsOf([line([1, 0], share), line([3, 0], share)]);
  assert.deepEqual(bands[1].high, [1, 0]);
  assert.deepEqual(bands[0].high, [0.25, 0]);
});

test("lines break at gaps; lonely points are known", () => {
  const [band] = bandsOf([line([1, null, 3, 4])]);
  assert.deepEqual(runsOf(band.high), [[0, 0], [2, 3]]);
  assert.deepEqual(edge(band, "linear", false), [[0, null, 120, 180], [1, null, 3, 4]]);
  assert.deepEqual(edge(band, "linear", true), [[0, 120, 180], [1, 3, 4]]);
  assert.deepEqual(lonely(band), [0]);
  assert.deepEqual(outline(bandsOf([line([1, 2])])[0], "linear"), [[0, 60, 60, 0], [1, 2, 0, 0]]);
});

test("steps", () => {
  assert.deepEqual(corners([0, 60], [1, 2], "stepAfter"), [[0, 60, 60], [1, 1, 2]]);
  assert.deepEqual(corners([0, 60], [1, 2], "stepBefore"), [[0, 0, 60], [1, 2, 2]]);
});

test("the nearest point, not further than an interval", () => {
  assert.equal(nearest([0, 60, 120], 89, 60), 1);
  assert.equal(nearest([0, 60, 120], 91, 60), 2);
  assert.equal(nearest([0, 60, 120], 500, 60), -1);
  assert.equal(nearest([], 5, 60), -1);
});

test("scales have round steps that hold all values", () => {
  assert.deepEqual(valueScale(0, 87e9, "bps", 4).values, [0, 25e9, 50e9, 75e9, 100e9]);
  assert.deepEqual(valueScale(0, 0, "bps", 4).values, [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(valueScale(0, 0.9, "percentunit", 4, { min: 0, max: 1 }).values, [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(valueScale(0, 400, "s", 4).values, [0, 120, 240, 360, 480]);
  const { from, to } = valueScale(-5, 12, "short", 4);
  assert.ok(from <= -5 && to >= 12);
  assert.deepEqual(tickTexts([0, 2.5e9, 5e9], "bps"), ["0 b/s", "2.5 Gb/s", "5.0 Gb/s"]);
  assert.deepEqual(tickTexts([0, 0.25, 0.5], "percentunit"), ["0%", "25%", "50%"]);
  assert.deepEqual(tickTexts([0, 5e5, 1e6, 1.5e6], "bps"), ["0 b/s", "500 kb/s", "1.0 Mb/s", "1.5 Mb/s"]);
});

test("marks of time stand on whole local minutes and days", () => {
  const from = Date.UTC(2026, 8, 21, 13, 3); // 15:03 in Berlin
  assert.deepEqual(timeScale(from, from + 3_600_000, 6).texts, ["15:10", "15:20", "15:30", "15:40", "15:50", "16:00"]);
  const week = timeScale(Date.UTC(2026, 9, 22), Date.UTC(2026, 9, 29), 8); // over the end of summer time
  assert.deepEqual(week.texts, ["23 Oct", "24 Oct", "25 Oct", "26 Oct", "27 Oct", "28 Oct", "29 Oct"]);
});

const FRAME = { from: 0, to: 180, width: 600, height: 200, font: 12, ink: "#fff", grid: "#222", ground: "#000", colorOf: (name) => name };

test("a figure: filled, dashed, no traces that need more than the policy allows", () => {
  const drawn = figure([line([1, 2, 3, 4], { ...STACK, fillOpacity: 80, lineWidth: 0 }),
    line([4, 5, 6, 7], { lineWidth: 2, lineStyle: { fill: "dash", dash: [6, 4] } })], FRAME);
  assert.deepEqual([...new Set(drawn.data.map(({ type }) => type))], ["scatter"]);
  assert.deepEqual(drawn.data.map(({ fill, line: { dash } }) => fill ?? dash), ["toself", "6px,4px"]);
  assert.equal(drawn.layout.yaxis.range[0], 0);
  assert.ok(drawn.layout.margin.l >= 40, "room for the longest label");
});

test("bars, a right axis and markup in a name's axis label", () => {
  const drawn = figure([line([1, 2], { drawStyle: "bars", axisLabel: "<b>x</b>" }), line([100, 200], { axisPlacement: "right" }, { unit: "pps" })], FRAME);
  assert.deepEqual(drawn.data.map(({ type, yaxis }) => [type, yaxis ?? "y"]), [["bar", "y"], ["scatter", "y2"]]);
  assert.equal(drawn.layout.yaxis.title.text, "&lt;b&gt;x&lt;/b&gt;");
  assert.match(drawn.layout.yaxis2.ticktext.at(-1), /p\/s$/);
});

test("rows part the panels, folded ones keep theirs", () => {
  const at = (id, y, x = 0, type = "stat", more = {}) => ({ id, type, gridPos: { x, y, w: 12, h: 4 }, ...more });
  const parts = partsOf([at(2, 0, 12), at(1, 0), at(9, 4, 0, "row"), at(3, 5), at(10, 9, 0, "row", { collapsed: true, panels: [at(4, 10)] })]);
  assert.deepEqual(parts.map(({ row, panels }) => [row?.id ?? null, panels.map(({ id }) => id)]), [[null, [1, 2]], [9, [3]], [10, [4]]]);
  assert.equal(rowsOf([at(1, 5), at(2, 7)]), 6);
});
