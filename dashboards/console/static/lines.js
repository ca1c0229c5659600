// Series as they are drawn: stacked, cut at gaps, stepped.  Values in, values out.

/**
 * @typedef {{name: string, times: number[], values: (number|null)[], config: Record<string, any>, color: string,
 *   interval: number}} Line one series with its name and looks; `interval` is the distance of its points in milliseconds
 * @typedef {{line: Line, times: number[], low: (number|null)[], high: (number|null)[]}} Band what a line covers
 */

const none = (value) => value === null || value === undefined || Number.isNaN(value);

/** The group a line is stacked in, or "". */
export function stackOf(line) {
  const { mode = "none", group = "A" } = line.config.custom?.stacking ?? {};
  return mode === "none" ? "" : `${mode}/${group}/${line.config.custom?.axisPlacement === "right"}`;
}

/**
 * Each line with the band it covers.  In a stack a missing value adds nothing where others have one, and where none has
 * one there is a gap for all.
 * @param {Line[]} lines
 * @returns {Band[]}
 */
export function bandsOf(lines) {
  const stacks = new Map();
  for (const line of lines) {
    const key = stackOf(line);
    if (key) stacks.set(key, [...(stacks.get(key) ?? []), line]);
  }
  const stacked = new Map();
  for (const [key, members] of stacks) {
    for (const band of stackedBands(members, key.startsWith("percent/"))) stacked.set(band.line, band);
  }
  return lines.map((line) => stacked.get(line)
    ?? { line, times: line.times, low: line.values.map((value) => (none(value) ? null : 0)), high: line.values });
}

function stackedBands(lines, percent) {
  const times = [...new Set(lines.flatMap((line) => line.times))].sort((a, b) => a - b);
  const columns = lines.map((line) => aligned(line, times));
  const alive = times.map((_, at) => columns.some((column) => !none(column[at])));
  const totals = times.map((_, at) => columns.reduce((total, column) => total + (column[at] ?? 0), 0));
  const reached = times.map(() => 0);
  return lines.map((line, number) => {
    const low = [];
    const high = [];
    times.forEach((_, at) => {
      if (!alive[at]) return void (low.push(null), high.push(null));
      const share = columns[number][at] ?? 0;
      low.push(reached[at]);
      reached[at] += percent ? (totals[at] ? share / totals[at] : 0) : share;
      high.push(reached[at]);
    });
    return { line, times, low, high };
  });
}

/** A line's values at other times; null where it has no point. */
export function aligned(line, times) {
  if (line.times === times) return line.values;
  const places = new Map(line.times.map((when, at) => [when, at]));
  return times.map((when) => (places.has(when) ? line.values[places.get(when)] : null));
}

/** Runs of points without a gap: [first, last] indexes. */
export function runsOf(values) {
  const runs = [];
  let first = -1;
  values.forEach((value, at) => {
    if (none(value)) first = -1;
    else if (first < 0) runs.push([(first = at), at]);
    else runs.at(-1)[1] = at;
  });
  return runs;
}

/** Corners of a stepped line: a value holds until the next time ("stepAfter") or since the last ("stepBefore"). */
export function corners(times, values, interpolation) {
  if (interpolation !== "stepAfter" && interpolation !== "stepBefore") return [times, values];
  const [xs, ys] = [[], []];
  times.forEach((when, at) => {
    if (at > 0) {
      xs.push(interpolation === "stepAfter" ? when : times[at - 1]);
      ys.push(interpolation === "stepAfter" ? values[at - 1] : values[at]);
    }
    xs.push(when);
    ys.push(values[at]);
  });
  return [xs, ys];
}

/** The outline of a band, one closed piece for each run; null parts pieces. */
export function outline(band, interpolation) {
  const [xs, ys] = [[], []];
  for (const [first, last] of runsOf(band.high)) {
    const times = band.times.slice(first, last + 1);
    const [upperX, upperY] = corners(times, band.high.slice(first, last + 1), interpolation);
    const [lowerX, lowerY] = corners(times, band.low.slice(first, last + 1), interpolation);
    if (xs.length) [xs, ys].forEach((list) => list.push(null));
    xs.push(...upperX, ...lowerX.reverse());
    ys.push(...upperY, ...lowerY.reverse());
  }
  return [xs, ys];
}

/** The upper edge with its gaps; with `span`, gaps are drawn across. */
export function edge(band, interpolation, span) {
  if (span) {
    const kept = band.high.flatMap((value, at) => (none(value) ? [] : [at]));
    return corners(kept.map((at) => band.times[at]), kept.map((at) => band.high[at]), interpolation);
  }
  const [xs, ys] = [[], []];
  for (const [first, last] of runsOf(band.high)) {
    const [x, y] = corners(band.times.slice(first, last + 1), band.high.slice(first, last + 1), interpolation);
    if (xs.length) [xs, ys].forEach((list) => list.push(null));
    xs.push(...x);
    ys.push(...y);
  }
  return [xs, ys];
}

/** Points that stand alone between gaps: a line would not show them. */
export function lonely(band) {
  return runsOf(band.high).filter(([first, last]) => first === last).map(([at]) => at);
}

/** The point nearest to a time, at most one interval away; -1 without. */
export function nearest(times, when, interval) {
  let [low, high] = [0, times.length - 1];
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= when) low = middle;
    else high = middle;
  }
  const at = Math.abs(times[low] - when) <= Math.abs(times[high] - when) ? low : high;
  return Math.abs(times[at] - when) <= interval ? at : -1;
}
