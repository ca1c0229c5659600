// Expected texts: Grafana's own tests of its value formats where it has one (marked G), else its documentation's rules.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fixed, format, fromNow, isoTime } from "../../../dashboards/console/static/units.js";

const CASES = [
  [1234567, "bps", undefined, "1.23 Mb/s"], [0, "bps", undefined, "0 b/s"], [1e9, "bps", undefined, "1 Gb/s"],
  [12_500_000_000, "bps", undefined, "12.5 Gb/s"], [999, "bps", undefined, "999 b/s"], [1500, "bps", 0, "2 kb/s"],
  [-2_000_000, "bps", undefined, "-2 Mb/s"], [2_500_000, "Bps", 1, "2.5 MB/s"], [1_500_000, "pps", undefined, "1.5 Mp/s"],
  [10_000_000_000, "decbytes", 3, "10.000 GB"], [57_700_000_000_000, "decbytes", undefined, "57.7 TB"],
  [10_000_000 * 1024, "bytes", 3, "9.537 GiB"],
  [0.2534, "percentunit", undefined, "25.3%"], [0.25, "percentunit", 1, "25.0%"], [97.123, "percent", 1, "97.1%"],
  [0.0024, "ms", 4, "0.0024 ms"] /* G */, [100, "ms", 0, "100 ms"] /* G */, [1250, "ms", 2, "1.25 s"] /* G */,
  [10000086.123, "ms", 1, "2.8 hour"] /* G */, [1200, "ms", 0, "1 s"] /* G */,
  [0.0005, "s", undefined, "500 µs"], [0.5, "s", undefined, "500 ms"], [0, "s", undefined, "0 s"], [59, "s", 0, "59 s"],
  [90, "s", undefined, "1.5 min"], [7200, "s", 0, "2 hour"], [172_800, "s", undefined, "2 day"],
  [98765, "short", 2, "98.77 K"] /* G */, [9876543, "short", 6, "9.876543 Mil"] /* G */, [12, "short", undefined, "12"],
  [3_000_000_000, "short", undefined, "3 Bil"], [100, "none", undefined, "100"], [100.4, "none", 2, "100.40"] /* G */,
  [1234567, "locale", undefined, "1,234,567"], [1.5, "locale", 0, "2"], [12, "suffix:flows/s", undefined, "12 flows/s"],
  [12.34, "suffix: flows/s", 0, "12 flows/s"], [7, "string", undefined, "7"], [5, "widgets", undefined, "5 widgets"],
  [null, "bps", undefined, ""], [NaN, "bps", undefined, ""], [0.0012, "none", undefined, "0.0012"],
];

for (const [value, unit, decimals, expected] of CASES) {
  test(`${value} ${unit} ${decimals ?? "auto"}`, () => assert.equal(format(value, unit, decimals), expected));
}

test("decimals as Grafana's toFixed has them", () => {
  assert.equal(fixed(100), "100");
  assert.equal(fixed(100.4), "100");
  assert.equal(fixed(100.5), "101");
  assert.equal(fixed(100.37, 1), "100.4");
  assert.equal(fixed(186.123, -2), "186");
  assert.equal(fixed(2.5), "2.5");
});

test("time of the viewer's zone", () => {
  assert.equal(isoTime(Date.UTC(2026, 8, 21, 13, 0, 5)), "2026-09-21 15:00:05");
  assert.equal(isoTime(Date.UTC(2026, 11, 21, 13)), "2026-12-21 14:00:00");
  assert.equal(format(Date.UTC(2026, 8, 21, 13), "dateTimeAsIso"), "2026-09-21 15:00:00");
});

test("how long ago, in moment's words", () => {
  const now = Date.UTC(2026, 8, 21);
  const ago = (seconds) => fromNow(now - seconds * 1000, now);
  assert.equal(ago(3), "a few seconds ago");
  assert.equal(ago(60), "a minute ago");
  assert.equal(ago(300), "5 minutes ago");
  assert.equal(ago(3600), "an hour ago");
  assert.equal(ago(5 * 3600), "5 hours ago");
  assert.equal(ago(26 * 3600), "a day ago");
  assert.equal(ago(12 * 86400), "12 days ago");
  assert.equal(ago(40 * 86400), "a month ago");
  assert.equal(ago(800 * 86400), "2 years ago");
  assert.equal(fromNow(now + 300_000, now), "in 5 minutes");
});
