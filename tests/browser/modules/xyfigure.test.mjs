import assert from "node:assert/strict";
import { test } from "node:test";

import { nearestPoint, partOf, pointsOf, rowsAt, scaleOf, xyFigure, xyLines } from "../../../dashboards/console/static/xyfigure.js";

const LOG = { scaleDistribution: { type: "log", log: 10 } };
const PANEL = {
  options: { dims: { frame: 0, x: "size", exclude: ["week"] } },
  fieldConfig: { defaults: { unit: "percentunit", custom: { show: "lines", lineWidth: 2 } },
    overrides: [{ matcher: { id: "byName", options: "size" }, properties: [{ id: "unit", value: "decbytes" }, { id: "custom.scaleDistribution", value: LOG.scaleDistribution }] }] },
};
const FRAME = { ref: "A", columns: [{ name: "size", type: "Float64" }, { name: "IN", type: "Float64" }, { name: "week", type: "String" },
  { name: "OUT", type: "Nullable(Float64)" }], rows: [[1e3, 0.1, "a", null], [1e4, 0.3, "b", 0.2], [0, 0.5, "c", 0.4], [1e6, 0.2, "d", 0.1]] };
const SIZE = { width: 600, height: 400, font: 12, ink: "#000000", grid: "#cccccc" };

test("the named column is x, other numbers are series, texts what a point is called", () => {
  const lines = xyLines(PANEL, [FRAME], "light");
  assert.deepEqual(lines.map(({ name }) => name), ["IN", "OUT"]);
  assert.deepEqual(lines[0].xs, [1e3, 1e4, 0, 1e6]);
  assert.deepEqual(lines[0].notes, ["a", "b", "c", "d"]);
  assert.equal(lines[0].xConfig.unit, "decbytes");
  assert.deepEqual(xyLines(PANEL, [{ ...FRAME, rows: [] }], "light"), []);
});

test("nothing has no place on a logarithmic scale, and null none at all", () => {
  const [first, second] = xyLines(PANEL, [FRAME], "light");
  assert.deepEqual(pointsOf(first), [0, 1, 3]);
  assert.deepEqual(pointsOf(second), [1, 3]);
});

test("scales: decades, and 2 and 5 of few of them; linear ones leave room only where asked", () => {
  const decades = scaleOf([1e3, 5e8], { unit: "decbytes", custom: LOG }, 10, false);
  assert.deepEqual(decades.values, [1e3, 1e4, 1e5, 1e6, 1e7, 1e8]);
  assert.deepEqual(decades.texts.slice(0, 4), ["1 kB", "10 kB", "100 kB", "1 MB"]);
  assert.deepEqual(scaleOf([3e6, 6e7], { unit: "decbytes", custom: LOG }, 10, false).texts, ["5 MB", "10 MB", "20 MB", "50 MB"]);
  assert.ok(scaleOf([1e3, 1e12], { unit: "decbytes", custom: LOG }, 4, false).values.length <= 4);
  assert.equal(partOf(1e5, { log: true, from: 1e4, to: 1e6 }), 0.5);
  const linear = scaleOf([0, 23], { unit: "none", custom: {} }, 6, true);
  assert.ok(linear.from < 0 && linear.to > 23 && linear.values.every((value) => value >= 0 && value <= 23));
  const one = scaleOf([5], { unit: "none", custom: LOG }, 6, true);
  assert.ok(one.from < 5 && one.to > 5);
});

test("a line is parted where something is missing; places are parts of the plot", () => {
  const { data, scales, room } = xyFigure(xyLines(PANEL, [FRAME], "light"), SIZE);
  assert.equal(data.length, 2);
  assert.equal(data[0].x[0], 0);
  assert.equal(data[0].x[2], null);
  assert.equal(data[0].x[3], 1);
  assert.ok(Math.abs(data[0].x[1] - 1 / 3) < 1e-9);
  assert.ok(scales.y.from <= 0.1 && scales.y.to >= 0.3 && room.l > 20);
});

test("the nearest point: of lines by x and with all at it, of points by both", () => {
  const lines = xyLines(PANEL, [FRAME], "light");
  const { scales } = xyFigure(lines, SIZE);
  const found = nearestPoint(lines, scales, [0.4, 0.9], [500, 300]);
  assert.equal(found.at, 1);
  assert.deepEqual(rowsAt(lines, found).map(({ name, text }) => [name, text]), [["IN", "30%"], ["OUT", "20%"]]);
  const panel = structuredClone(PANEL);
  panel.fieldConfig.defaults.custom.show = "points";
  const points = xyLines(panel, [FRAME], "light");
  const drawn = xyFigure(points, SIZE);
  const place = [partOf(1e6, drawn.scales.x), partOf(0.1, drawn.scales.y)];
  const near = nearestPoint(points, drawn.scales, place, [500, 300]);
  assert.deepEqual([near.line.name, near.at], ["OUT", 3]);
  assert.deepEqual(rowsAt(points, near).map(({ name }) => name), ["OUT"]);
  assert.equal(nearestPoint([], drawn.scales, place, [500, 300]), null);
});
