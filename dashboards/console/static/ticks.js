// Where the lines of a scale are, and what stands beside them.

import { format, print } from "./units.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const STEPS = [1000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, HOUR, 2 * HOUR,
  3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 365 * DAY];

// Units of time are read in sixtieths, binary sizes in powers of two.
const BASES = { s: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
  172_800, 604_800] };

function niceStep(rough, unit) {
  const base = BASES[unit]?.find((step) => step >= rough);
  if (base && rough >= 1) return base;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999) ?? rough;
}

/**
 * A scale from below `low` to above `high` with about so many steps.
 * @param {{min?: number|null, max?: number|null}} [hard] ends that are given
 */
export function valueScale(low, high, unit, count, hard = {}) {
  let [from, to] = [hard.min ?? low, hard.max ?? high];
  if (!(to > from)) [from, to] = from === 0 || !Number.isFinite(from) ? [0, 1] : from > 0 ? [0, from * 1.2] : [from * 1.2, 0];
  const step = niceStep((to - from) / Math.max(1, count), unit);
  const first = hard.min ?? Math.floor(from / step + 1e-9) * step;
  const last = hard.max ?? Math.ceil(to / step - 1e-9) * step;
  const values = [];
  for (let at = Math.ceil(first / step - 1e-9); at * step <= last + step * 1e-9; at += 1) {
    values.push(Number((at * step).toPrecision(12)));
  }
  return { from: first, to: last > first ? last : first + step, step, values };
}

/** The words of a scale: exact, since a line at 2.5 must not say 3, and with equal decimals in equal units. */
export function tickTexts(values, unit) {
  const decimals = values.map((value) => {
    const exact = parseFloat(print(value, unit, 6).text);
    return [0, 1, 2, 3, 4, 5].find((count) => Math.abs(parseFloat(print(value, unit, count).text) - exact) < 1e-5) ?? 6;
  });
  const suffixes = values.map((value) => print(value, unit).suffix);
  return values.map((value, at) => {
    const like = decimals.filter((_, other) => suffixes[other] === suffixes[at]);
    return format(value, unit, value === 0 ? 0 : Math.max(...like));
  });
}

/** Places and words of a time axis with at most so many marks, on whole local minutes, hours and days. */
export function timeScale(from, to, count) {
  const step = STEPS.find((size) => (to - from) / size <= count) ?? STEPS.at(-1);
  const values = [];
  if (step >= DAY) {
    const date = new Date(from);
    date.setHours(0, 0, 0, 0);
    const days = Math.round(step / DAY);
    while (date.getTime() <= to && values.length < 50) {
      if (date.getTime() >= from) values.push(date.getTime());
      date.setDate(date.getDate() + days); // by the calendar: days of 23 hours too
    }
  } else {
    const offset = new Date(from).getTimezoneOffset() * 60_000;
    for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) values.push(at);
  }
  return { values, texts: values.map((value, at) => timeText(value, values[at - 1], step)) };
}

const two = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function timeText(value, before, step) {
  const date = new Date(value);
  const day = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
  if (step >= DAY) return day;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  // Midnight is told by its day, so that no axis of several days leaves it open which one is meant.
  if (before !== undefined && new Date(before).getDate() !== date.getDate() && date.getHours() + date.getMinutes() === 0) {
    return day;
  }
  return step < 60_000 ? `${clock}:${two(date.getSeconds())}` : clock;
}
