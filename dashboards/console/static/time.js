// Time ranges: relative as Grafana writes them ("now-1h", "now-1d/d") or absolute as Unix milliseconds.

const SPAN = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const RELATIVE = /^now(?:([-+])(\d{1,6})([smhdwMy]))?(?:\/([mhdwMy]))?$/;
const ABSOLUTE = /^(\d{4})-(\d{2})-(\d{2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?$/;
const LEAST_MS = 10_000; // a shorter window holds less than one bucket of anything we store

/** What the menu offers: [from, to, label]. */
export const QUICK = [
  ["now-5m", "now", "Last 5 minutes"], ["now-15m", "now", "Last 15 minutes"], ["now-30m", "now", "Last 30 minutes"],
  ["now-1h", "now", "Last 1 hour"], ["now-3h", "now", "Last 3 hours"], ["now-6h", "now", "Last 6 hours"],
  ["now-12h", "now", "Last 12 hours"], ["now-24h", "now", "Last 24 hours"], ["now-2d", "now", "Last 2 days"],
  ["now-7d", "now", "Last 7 days"], ["now-14d", "now", "Last 14 days"], ["now-30d", "now", "Last 30 days"],
  ["now/d", "now", "Today so far"], ["now-1d/d", "now-1d/d", "Yesterday"],
];

/** "5s" as milliseconds; 0 for "" and for what is no interval. */
export function intervalMs(text) {
  const found = /^(\d{1,6})(ms|[smhdw])$/.exec(text ?? "");
  if (!found) return 0;
  return Number(found[1]) * (found[2] === "ms" ? 1 : SPAN[found[2]]);
}

function moved(date, count, unit) {
  if (unit === "M") date.setMonth(date.getMonth() + count);
  else if (unit === "y") date.setFullYear(date.getFullYear() + count);
  // Days and weeks go by the calendar: a day of 23 hours is a day.
  else if (unit === "d" || unit === "w") date.setDate(date.getDate() + count * (unit === "w" ? 7 : 1));
  else date.setTime(date.getTime() + count * SPAN[unit]);
  return date;
}

function rounded(date, unit, up) {
  if (unit === "m" || unit === "h") {
    date.setTime(Math.floor(date.getTime() / SPAN[unit]) * SPAN[unit]);
  } else {
    date.setHours(0, 0, 0, 0);
    if (unit === "w") date.setDate(date.getDate() - ((date.getDay() + 6) % 7));
    if (unit === "M" || unit === "y") date.setDate(1);
    if (unit === "y") date.setMonth(0);
  }
  return up ? new Date(moved(date, 1, unit).getTime() - 1) : date;
}

/** Unix milliseconds of a boundary, NaN when it is none; `up` rounds "now/d" to the day's end. */
export function resolve(text, now, up = false) {
  const given = String(text ?? "").trim();
  if (/^\d{10,16}$/.test(given)) return Number(given);
  const relative = RELATIVE.exec(given);
  if (relative) {
    const [, sign, count, unit, unitOfRounding] = relative;
    const date = new Date(now);
    if (sign) moved(date, Number(count) * (sign === "-" ? -1 : 1), unit);
    return (unitOfRounding ? rounded(date, unitOfRounding, up) : date).getTime();
  }
  const absolute = ABSOLUTE.exec(given);
  if (!absolute) return NaN;
  const [year, month, day, hour = 0, minute = 0, second = 0] = absolute.slice(1).map((part) => Number(part ?? 0));
  const date = new Date(year, month - 1, day, hour, minute, second);
  // "2026-02-31" would quietly become a day of March.
  return date.getMonth() === month - 1 && date.getDate() === day && hour < 25 && minute < 60 ? date.getTime() : NaN;
}

/** Both boundaries in milliseconds, or null with neither sense nor length. */
export function resolveRange(from, to, now) {
  const since = resolve(from, now);
  const until = resolve(to, now, true);
  return until - since >= 1000 ? { from: since, to: until } : null;
}

/** Whether the range moves with the clock. */
export function isLive(to) {
  return String(to).startsWith("now");
}

/** The range as a person reads it; `print` makes "YYYY-MM-DD HH:MM:SS" of milliseconds. */
export function describe(from, to, print) {
  const quick = QUICK.find(([since, until]) => since === from && until === to);
  if (quick) return quick[2];
  let sides = [from, to].map((text) => (/^\d+$/.test(text) ? print(Number(text)) : text));
  if (sides.every((side) => /:00$/.test(side) || side.startsWith("now"))) sides = sides.map((side) => side.replace(/:00$/, ""));
  const [since, until] = sides;
  return since.slice(0, 11) === until.slice(0, 11) && !until.startsWith("now") ? `${since} to ${until.slice(11)}` : `${since} to ${until}`;
}

/** Twice as long around the same middle, not into the future; absolute. */
export function zoomedOut({ from, to }, now) {
  const length = to - from;
  const until = Math.min(to + length / 2, Math.max(now, to));
  return { from: Math.round(until - 2 * length), to: Math.round(until) };
}

/** Half a length earlier (-1) or later (1), not into the future; absolute. */
export function shifted({ from, to }, direction, now) {
  const step = Math.round((to - from) / 2) * direction;
  const over = Math.max(0, to + step - Math.max(now, to));
  return { from: from + step - over, to: to + step - over };
}

/** A dragged part of a range, in whole seconds and at least ten of them long; null when it was only a click. */
export function dragged(one, other) {
  let [from, to] = one < other ? [one, other] : [other, one];
  [from, to] = [Math.floor(from / 1000) * 1000, Math.ceil(to / 1000) * 1000];
  if (to - from < LEAST_MS) {
    const middle = (from + to) / 2;
    [from, to] = [Math.round(middle - LEAST_MS / 2), Math.round(middle + LEAST_MS / 2)];
  }
  return { from, to };
}
