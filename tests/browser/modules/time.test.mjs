import assert from "node:assert/strict";
import { test } from "node:test";

import { readAddress, readQueryLink, writeAddress, writeQueryLink } from "../../../dashboards/console/static/state.js";
import { describe, dragged, intervalMs, resolve, resolveRange, shifted, zoomedOut } from "../../../dashboards/console/static/time.js";
import { isoTime } from "../../../dashboards/console/static/units.js";

const NOW = Date.UTC(2026, 8, 21, 13, 30, 15); // Monday, 15:30:15 in Berlin
const H = 3_600_000;

test("relative times", () => {
  assert.equal(resolve("now", NOW), NOW);
  assert.equal(resolve("now-5m", NOW), NOW - 300_000);
  assert.equal(resolve("now-7d", NOW), NOW - 7 * 24 * H);
  assert.equal(resolve("now/d", NOW), Date.UTC(2026, 8, 20, 22)); // midnight in Berlin
  assert.equal(resolve("now-1d/d", NOW, true), Date.UTC(2026, 8, 20, 22) - 1);
  assert.equal(resolve("now/w", NOW), Date.UTC(2026, 8, 20, 22));
  assert.equal(resolve("now/M", NOW), Date.UTC(2026, 7, 31, 22));
});

test("a day back over the end of summer time has 25 hours", () => {
  const after = Date.UTC(2026, 9, 25, 12); // the clocks went back at 01:00 UTC
  assert.equal(resolve("now-1d", after), after - 25 * H);
});

test("absolute times", () => {
  assert.equal(resolve("1790000000000", NOW), 1_790_000_000_000);
  assert.equal(resolve("2026-09-21 15:00", NOW), Date.UTC(2026, 8, 21, 13));
  assert.equal(resolve("2026-09-21 15:00:07", NOW), Date.UTC(2026, 8, 21, 13, 0, 7));
  assert.equal(resolve("2026-09-21", NOW), Date.UTC(2026, 8, 20, 22));
  for (const wrong of ["", "yesterday", "now-", "now-1x", "2026-02-31 10:00", "2026-09-21 25:61", "now-1h; DROP"]) {
    assert.ok(Number.isNaN(resolve(wrong, NOW)), wrong);
  }
});

test("a range without length or sense is none", () => {
  assert.deepEqual(resolveRange("now-1h", "now", NOW), { from: NOW - H, to: NOW });
  assert.equal(resolveRange("now", "now-1h", NOW), null);
  assert.equal(resolveRange("now", "now", NOW), null);
  assert.equal(resolveRange("what", "now", NOW), null);
});

test("zooming out doubles and stays out of the future", () => {
  assert.deepEqual(zoomedOut({ from: NOW - 10 * H, to: NOW - 9 * H }, NOW), { from: NOW - 10.5 * H, to: NOW - 8.5 * H });
  assert.deepEqual(zoomedOut({ from: NOW - H, to: NOW }, NOW), { from: NOW - 2 * H, to: NOW });
});

test("earlier and later by half a length", () => {
  assert.deepEqual(shifted({ from: NOW - 4 * H, to: NOW - 2 * H }, -1, NOW), { from: NOW - 5 * H, to: NOW - 3 * H });
  assert.deepEqual(shifted({ from: NOW - 4 * H, to: NOW - 2 * H }, 1, NOW), { from: NOW - 3 * H, to: NOW - H });
  assert.deepEqual(shifted({ from: NOW - 2 * H, to: NOW }, 1, NOW), { from: NOW - 2 * H, to: NOW });
});

test("a dragged part, either way, in whole seconds and never too short", () => {
  assert.deepEqual(dragged(60_400, 30_600), { from: 30_000, to: 61_000 });
  assert.deepEqual(dragged(60_000, 61_000), { from: 55_500, to: 65_500 });
});

test("intervals and words", () => {
  assert.equal(intervalMs("5s"), 5000);
  assert.equal(intervalMs("1m"), 60_000);
  assert.equal(intervalMs(""), 0);
  assert.equal(intervalMs("soon"), 0);
  assert.equal(describe("now-1h", "now", String), "Last 1 hour");
  const words = (from, to) => describe(String(from), String(to), isoTime);
  assert.equal(words(NOW - 15_000, NOW - 15_000 + H), "2026-09-21 15:30 to 16:30");
  assert.equal(words(NOW, NOW + H), "2026-09-21 15:30:15 to 16:30:15");
  assert.equal(words(NOW - 15_000, NOW - 15_000 + 24 * H), "2026-09-21 15:30 to 2026-09-22 15:30");
  assert.equal(words(NOW - 15_000, "now"), "2026-09-21 15:30 to now");
});

test("an address holds the whole state, there and back", () => {
  const address = "/d/noc?from=now-6h&to=now&refresh=10s&var-service=fixed&var-service=mobile&view=7&wall=1&theme=light";
  const [path, search] = address.split("?");
  const state = readAddress(path, `?${search}`);
  assert.deepEqual(state, { page: "dashboard", uid: "noc", from: "now-6h", to: "now", refresh: "10s",
    variables: { service: ["fixed", "mobile"] }, theme: "light", wall: true, view: 7 });
  assert.equal(writeAddress(state), address);
  assert.equal(readAddress("/d/noc", "?refresh=off").refresh, "");
  assert.equal(readAddress("/d/noc", "").refresh, null);
  assert.equal(readAddress("/d/noc", "?refresh=1ms&theme=pink&view=x").refresh, null);
  assert.equal(readAddress("/sql", "").page, "sql");
  assert.equal(readAddress("/d/%", "").uid, "%");
});

test("a link to a question", () => {
  const link = { query: "noc_top_ports", sql: "SELECT {n:UInt8} & 1 -- #?", parameters: { n: "5" } };
  assert.deepEqual(readQueryLink(writeQueryLink(link)), link);
});
