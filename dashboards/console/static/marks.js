// What happened, marked in charts: a dashed line where it began and where it ended, a tint between.

import { faded, readable } from "./colors.js";
import { isoTime } from "./units.js";

const MOST = 100; // more would be a wall of lines

/** @typedef {{time: number, timeEnd: number, title: string, text: string, tags: string[], color: string, spanWords: string}} Mark */

/**
 * Events of all annotations, in order; one that lasts beyond the range (to `until`) has no end, so that it is the same
 * with the next refresh.
 * @returns {Mark[]}
 */
export function marksOf(annotations, until) {
  return annotations.flatMap(({ color, events }) => events.map((event) => {
    const timeEnd = event.timeEnd >= until ? Number.MAX_SAFE_INTEGER : event.timeEnd;
    return { ...event, timeEnd, color, spanWords: spanOf(event.time, timeEnd) };
  })).sort((a, b) => a.time - b.time).slice(-MOST);
}

function spanOf(time, timeEnd) {
  if (timeEnd === Number.MAX_SAFE_INTEGER) return `since ${isoTime(time)}`;
  return timeEnd > time ? `${isoTime(time)} to ${isoTime(timeEnd)}` : isoTime(time);
}

/** Those in force at a time; a moment, or an end, is met by coming near. */
export function marksAt(marks, when, near) {
  return marks.filter(({ time, timeEnd }) => when >= time - near && when <= timeEnd + near);
}

/** As plotly's shapes, within the range. */
export function markShapes(marks, frame) {
  return marks.filter(({ time, timeEnd }) => timeEnd >= frame.from && time <= frame.to).flatMap(({ time, timeEnd, color }) => {
    const ink = readable(frame.colorOf(color || "red"), frame.ground, 3);
    const upright = { xref: "x", yref: "paper", y0: 0, y1: 1 };
    const lines = [...new Set([time, timeEnd])].filter((when) => when >= frame.from && when <= frame.to)
      .map((when) => ({ ...upright, type: "line", x0: when, x1: when, line: { width: 1.5, dash: "4px,3px", color: ink } }));
    const [from, to] = [Math.max(time, frame.from), Math.min(timeEnd, frame.to)];
    return to > from ? [{ ...upright, type: "rect", layer: "below", x0: from, x1: to, line: { width: 0 },
      fillcolor: faded(ink, 0.1) }, ...lines] : lines;
  });
}
