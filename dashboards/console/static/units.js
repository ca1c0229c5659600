// Numbers as Grafana prints them, so that a figure reads the same in both places.

/** @typedef {{text: string, suffix: string}} Printed */

const SI = ["f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y"];
const COUNT = ["", " K", " Mil", " Bil", " Tri", " Quadr", " Quint", " Sext", " Sept"];
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

/** Decimals that leave about three digits, and none for a whole number. */
function automaticDecimals(value) {
  if (value % 1 === 0 || !Number.isFinite(value)) return 0;
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  const decimals = 1 - magnitude;
  // One digit more from 2.25 on: 2.5 would read 3 otherwise.
  return Math.max(0, Math.abs(value) / 10 ** -decimals > 2.25 ? decimals + 1 : decimals);
}

/** A number with so many decimals; without, as many as it needs and no trailing zeros. */
export function fixed(value, decimals) {
  const wanted = Math.min(20, Math.max(0, decimals ?? automaticDecimals(value)));
  const factor = 10 ** wanted;
  // Math.round, not toFixed, which would print 1.005 as 1.00 here and there.
  const rounded = Math.round(value * factor) / factor;
  if (!Number.isFinite(rounded)) return String(value);
  const text = Math.abs(rounded) < 1e21 ? rounded.toFixed(wanted) : String(rounded);
  return decimals === null || decimals === undefined ? String(+text) : text;
}

function scaled(value, decimals, base, suffixes, zero) {
  const size = Math.abs(value);
  let power = size > 0 ? Math.floor(Math.log(size) / Math.log(base) + 1e-9) : 0;
  power = Math.min(suffixes.length - 1 - zero, Math.max(-zero, power));
  return { text: fixed(value / base ** power, decimals), suffix: suffixes[zero + power] };
}

function si(unit) {
  return (value, decimals) => {
    const { text, suffix } = scaled(value, decimals, 1000, SI, 5);
    return { text, suffix: ` ${suffix}${unit}` };
  };
}

function binary(unit) {
  return (value, decimals) => {
    const { text, suffix } = scaled(value, decimals, 1024, BINARY, 0);
    return { text, suffix: ` ${suffix}${unit}` };
  };
}

function plain(suffix) {
  return (value, decimals) => ({ text: fixed(value, decimals), suffix });
}

/** Steps of [below this size, divide by, word]. */
function stepped(steps) {
  return (value, decimals) => {
    const [, divisor, word] = steps.find(([below]) => Math.abs(value) < below);
    return { text: fixed(value / divisor, decimals), suffix: ` ${word}` };
  };
}

const SECONDS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "hour"], [604800, 86400, "day"],
  [31536000, 604800, "week"], [Infinity, 31556900, "year"]];
const MILLISECONDS = [[1000, 1, "ms"], [6e4, 1e3, "s"], [36e5, 6e4, "min"], [864e5, 36e5, "hour"],
  [31536e6, 864e5, "day"], [Infinity, 31536e6, "year"]];

function seconds(value, decimals) {
  const small = [[1e-6, 1e-9, "ns"], [1e-3, 1e-6, "µs"], [1, 1e-3, "ms"]];
  return stepped(value === 0 ? SECONDS : [...small, ...SECONDS])(value, decimals);
}

const two = (number) => String(number).padStart(2, "0");

/** A day of the viewer's time zone, YYYY-MM-DD. */
export function isoDay(ms) {
  const date = new Date(ms);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** A time of day of the viewer's time zone, HH:MM:SS. */
export function isoClock(ms) {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Date and time of the viewer's time zone. */
export function isoTime(ms) {
  return `${isoDay(ms)} ${isoClock(ms)}`;
}

/** How long ago, or in how long, in words. */
export function fromNow(ms, now = Date.now()) {
  const s = Math.abs(now - ms) / 1000;
  const [m, h, d] = [Math.round(s / 60), Math.round(s / 3600), Math.round(s / 86400)];
  const months = Math.round(d / 30.4375);
  const years = Math.round(d / 365.25);
  let words;
  if (Math.round(s) < 45) words = "a few seconds";
  else if (m < 2) words = "a minute";
  else if (m < 45) words = `${m} minutes`;
  else if (h < 2) words = "an hour";
  else if (h < 22) words = `${h} hours`;
  else if (d < 2) words = "a day";
  else if (d < 26) words = `${d} days`;
  else if (months < 2) words = "a month";
  else if (months < 11) words = `${months} months`;
  else words = years < 2 ? "a year" : `${years} years`;
  return ms > now ? `in ${words}` : `${words} ago`;
}

const FORMATS = {
  none: plain(""),
  raw: (value) => ({ text: String(value), suffix: "" }), // every digit that came
  short: (value, decimals) => scaled(value, decimals, 1000, COUNT, 0),
  percent: plain("%"),
  percentunit: (value, decimals) => ({ text: fixed(100 * value, decimals), suffix: "%" }),
  bps: si("b/s"),
  Bps: si("B/s"),
  pps: si("p/s"),
  decbytes: si("B"),
  decbits: si("b"),
  bytes: binary("B"),
  hertz: si("Hz"),
  s: seconds,
  ms: stepped(MILLISECONDS),
  string: (value) => ({ text: String(value), suffix: "" }),
  locale: (value, decimals) => ({
    text: value.toLocaleString("en-US", { maximumFractionDigits: Math.max(0, decimals ?? 3) }), suffix: "",
  }),
  dateTimeAsIso: (value) => ({ text: isoTime(value), suffix: "" }),
  dateTimeFromNow: (value) => ({ text: fromNow(value), suffix: "" }),
};

/**
 * A number with its unit; a unit that is not known is printed behind the number, as Grafana does.
 * @returns {Printed}
 */
export function print(value, unit, decimals) {
  if (value === null || value === undefined || Number.isNaN(value)) return { text: "", suffix: "" };
  if (typeof value !== "number") return { text: String(value), suffix: "" };
  if (!unit) return FORMATS.none(value, decimals);
  if (Object.hasOwn(FORMATS, unit)) return FORMATS[unit](value, decimals);
  const [kind, ...rest] = unit.split(":");
  const word = rest.join(":");
  if (kind === "suffix") return plain(` ${word.trim()}`)(value, decimals);
  if (kind === "si") return si(word)(value, decimals);
  if (kind === "prefix") return { text: word + fixed(value, decimals), suffix: "" };
  return plain(` ${unit}`)(value, decimals);
}

/** The same in one string. */
export function format(value, unit, decimals) {
  const { text, suffix } = print(value, unit, decimals);
  return text + suffix;
}
