// Colours by name and theme.  A name stands for two colours, so that it can be read on dark and on light ground.

const NAMED = {
  green: ["#73bf69", "#1f7a33"], "dark-green": ["#37872d", "#19611f"], "light-green": ["#96d98d", "#3c8a3a"],
  "semi-dark-green": ["#56a64b", "#19611f"], "super-light-green": ["#c8f2c2", "#4f9a48"],
  yellow: ["#f2cc0c", "#8a6a00"], "dark-yellow": ["#e0b400", "#735800"], "light-yellow": ["#ffee52", "#9a7a00"],
  "semi-dark-yellow": ["#e0b400", "#7d6000"],
  orange: ["#ff9830", "#b35309"], "dark-orange": ["#fa6400", "#9a4300"], "light-orange": ["#ffb357", "#bd5f12"],
  "semi-dark-orange": ["#ff780a", "#a84c06"],
  red: ["#f2495c", "#c4162a"], "dark-red": ["#c4162a", "#9c0f20"], "light-red": ["#ff7383", "#d0263a"],
  "semi-dark-red": ["#e02f44", "#b31225"],
  blue: ["#5794f2", "#1f60c4"], "dark-blue": ["#1f60c4", "#174a99"], "light-blue": ["#8ab8ff", "#2d6fd2"],
  "semi-dark-blue": ["#3274d9", "#1b54ac"], "super-light-blue": ["#c0d8ff", "#3a7bdc"],
  purple: ["#b877d9", "#8230ad"], "dark-purple": ["#8f3bb8", "#6b2590"], "light-purple": ["#ca95e5", "#9640c2"],
  text: ["#d5dae1", "#22272e"], gray: ["#8d97a5", "#5c6672"], grey: ["#8d97a5", "#5c6672"],
  white: ["#ffffff", "#22272e"], black: ["#0b0d10", "#000000"], transparent: ["transparent", "transparent"],
};

// Grafana's classic palette begins with these hues; neighbours differ in hue and in lightness.
const PALETTE = [
  ["#73bf69", "#2f8a3b"], ["#f2cc0c", "#a88000"], ["#5794f2", "#2364c9"], ["#ff9830", "#c76a11"],
  ["#f2495c", "#cc2a3d"], ["#b877d9", "#8f3bb8"], ["#56c7c9", "#157f82"], ["#fa6fb1", "#bd3678"],
  ["#a3b34d", "#6f7d16"], ["#8ab8ff", "#5a7fb8"], ["#d9a066", "#93632d"], ["#8e8cd8", "#5b57b5"],
  ["#96d98d", "#5a9e51"], ["#ffb3a7", "#c05f50"], ["#9aa5b1", "#66717d"], ["#ffee52", "#857a00"],
];

const SCALES = {
  "continuous-GrYlRd": ["green", "yellow", "red"], "continuous-RdYlGr": ["red", "yellow", "green"],
  "continuous-YlRd": ["yellow", "red"], "continuous-BlPu": ["blue", "purple"], "continuous-YlBl": ["yellow", "blue"],
  "continuous-BlYlRd": ["blue", "yellow", "red"],
};
const SINGLE = { "continuous-blues": "blue", "continuous-greens": "green", "continuous-reds": "red",
  "continuous-purples": "purple", "continuous-oranges": "orange", "continuous-yellows": "yellow" };
const GROUND = { dark: "#161a20", light: "#ffffff" };

/** Red, green, blue of a hex colour or rgb(); null of anything else. */
export function channels(color) {
  const short = /^#([\da-f])([\da-f])([\da-f])$/i.exec(color);
  if (short) return short.slice(1).map((digit) => parseInt(digit + digit, 16));
  const hex = /^#([\da-f]{2})([\da-f]{2})([\da-f]{2})(?:[\da-f]{2})?$/i.exec(color);
  if (hex) return hex.slice(1).map((digits) => parseInt(digits, 16));
  const rgb = /^rgba?\(\s*(\d+)[ ,]+(\d+)[ ,]+(\d+)/i.exec(color);
  return rgb ? rgb.slice(1).map(Number) : null;
}

function hexOf(parts) {
  return `#${parts.map((part) => Math.round(Math.min(255, Math.max(0, part))).toString(16).padStart(2, "0")).join("")}`;
}

/** A colour of a dashboard as CSS: names by theme, hex as it is. */
export function colorOf(name, theme) {
  const known = NAMED[name];
  if (known) return known[theme === "light" ? 1 : 0];
  return channels(name ?? "") ? name : NAMED.text[theme === "light" ? 1 : 0];
}

/** The colour of the nth series. */
export function paletteColor(index, theme) {
  return PALETTE[index % PALETTE.length][theme === "light" ? 1 : 0];
}

/** Between two colours; 0 is the first. */
export function mixed(one, other, part) {
  const [a, b] = [channels(one), channels(other)];
  return a && b ? hexOf(a.map((value, at) => value + (b[at] - value) * part)) : one;
}

/** With an opacity, as rgba(). */
export function faded(color, opacity) {
  const parts = channels(color);
  return parts ? `rgba(${parts.join(",")},${opacity})` : color;
}

function luminance(color) {
  const [r, g, b] = (channels(color) ?? [0, 0, 0]).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Contrast ratio of WCAG 2, from 1 to 21. */
export function contrast(one, other) {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

/** The colour, moved towards white or black until it can be read on the ground (WCAG AA: 4.5). */
export function readable(color, ground, least = 4.5) {
  if (!channels(color)) return color;
  const towards = luminance(ground) > 0.18 ? "#000000" : "#ffffff";
  for (let part = 0; part <= 1; part += 0.05) {
    const tried = mixed(color, towards, part);
    if (contrast(tried, ground) >= least) return tried;
  }
  return towards;
}

/** Black or white, whichever reads better on the ground. */
export function inkOn(ground) {
  return contrast("#0b0d10", ground) >= contrast("#ffffff", ground) ? "#0b0d10" : "#ffffff";
}

/** The colour of a part (0 to 1) of a continuous scale; null for a scale that is not known. */
export function scaleColor(mode, part, theme) {
  const at = Math.min(1, Math.max(0, part));
  if (SINGLE[mode]) {
    const full = colorOf(SINGLE[mode], theme);
    return mixed(mixed(GROUND[theme] ?? GROUND.dark, full, 0.08), full, at);
  }
  const names = SCALES[mode];
  if (!names) return null;
  const place = at * (names.length - 1);
  const low = Math.min(names.length - 2, Math.floor(place));
  return mixed(colorOf(names[low], theme), colorOf(names[low + 1], theme), place - low);
}

/** Which of ok, warning, alert a threshold's colour means, so that it can be told without seeing colour; "" if none. */
export function meaningOf(name) {
  const bare = String(name ?? "").replace(/^(semi-dark|super-light|dark|light)-/, "");
  const word = { green: "ok", yellow: "warning", orange: "warning", red: "alert" }[bare];
  if (word) return word;
  const parts = channels(bare);
  if (!parts) return "";
  const [r, g, b] = parts;
  const [most, least] = [Math.max(r, g, b), Math.min(r, g, b)];
  if (most - least < 40) return "";
  let hue = most === r ? (g - b) / (most - least) : most === g ? 2 + (b - r) / (most - least) : 4 + (r - g) / (most - least);
  hue = (hue * 60 + 360) % 360;
  if (hue < 18 || hue > 335) return "alert";
  if (hue < 65) return "warning";
  return hue < 170 ? "ok" : "";
}
