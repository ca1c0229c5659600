import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { AskError, csvAddress, exact, panel, sql } from "../../../dashboards/console/static/api.js";

let started = [];

/** A server that answers when it is told to. */
beforeEach(() => {
  started = [];
  globalThis.fetch = (path, { signal }) => new Promise((resolve, reject) => {
    started.push({ path, answer: (text = "{}", status = 200) => resolve(new Response(text, { status })) });
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
});

const soon = () => new Promise((resolve) => { setImmediate(resolve); });

test("six at once; who is no longer wanted does not wait in the way", async () => {
  const wanted = new AbortController();
  const dropped = new AbortController();
  const first = Array.from({ length: 6 }, (_, at) => panel("noc", at, {}, wanted.signal));
  const gone = panel("noc", 6, {}, dropped.signal).catch((problem) => problem.name);
  const last = panel("noc", 7, {}, wanted.signal);
  await soon();
  assert.equal(started.length, 6);
  dropped.abort();
  assert.equal(await gone, "AbortError");
  started[0].answer();
  await first[0];
  await soon();
  assert.equal(started.length, 7);
  assert.match(started[6].path, /panels\/7$/);
  for (const { answer } of started) answer();
  await Promise.all([...first, last]);
});

test("what the server said is said, and silence is told apart", async () => {
  const asked = (answer) => {
    const problem = sql({ sql: "x" }).then(() => null, (found) => found);
    answer(started.at(-1));
    return problem;
  };
  const refused = await asked(({ answer }) => answer('{"error": "no such table: y"}', 400));
  assert.ok(refused instanceof AskError);
  assert.deepEqual([refused.message, refused.isDown], ["no such table: y", false]);
  const down = await asked(({ answer }) => answer('{"error": "the store does not answer"}', 503));
  assert.deepEqual([down.message, down.isDown], ["the store does not answer", true]);
  assert.match((await asked(({ answer }) => answer("<html>", 401))).message, /sign in/);
  assert.match((await asked(({ answer }) => answer("<html>", 200))).message, /cannot be read/);
  globalThis.fetch = () => Promise.reject(new TypeError("Failed to fetch"));
  const silent = await sql({ sql: "x" }).catch((found) => found);
  assert.deepEqual([silent.message, silent.isDown], ["the console's server does not answer", true]);
});

test("whole numbers keep their last digit", () => {
  assert.equal(exact("", 18446744073709552000, { source: "18446744073709551615" }), "18446744073709551615");
  assert.equal(exact("", 5, { source: "5" }), 5);
  assert.equal(exact("", 1e300, { source: "1e300" }), 1e300);
  assert.equal(exact("", 9007199254740993, undefined), 9007199254740993); // a browser that does not tell the source
});

test("the file of a panel", () => {
  const request = { from: 1, to: 2, max_points: 600, variables: { service: ["fixed", "mo&bile"] } };
  assert.equal(csvAddress("noc", 7, request),
    "/api/dashboards/noc/panels/7/csv?from=1&to=2&max_points=600&var-service=fixed&var-service=mo%26bile");
});
