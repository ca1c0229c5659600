// What a panel says about its fields: defaults and overrides, thresholds, mappings -> text and colour of a value.

import { colorOf, paletteColor, scaleColor } from "./colors.js";
import { plainName, templateName } from "./frames.js";
import { print } from "./units.js";

/** A regular expression written as "/.../i"; null for one that is none. */
export function patternOf(text) {
  const found = /^\/(.*)\/([a-z]*)$/s.exec(text ?? "");
  try {
    return found ? new RegExp(found[1], found[2].replace(/[gy]/g, "")) : new RegExp(`^(?:${text})$`);
  } catch {
    return null;
  }
}

function matches(matcher, field, names) {
  switch (matcher.id) {
    case "byName": return names.includes(matcher.options);
    case "byNames": return names.some((name) => (matcher.options?.names ?? []).includes(name));
    case "byRegexp": { const pattern = patternOf(matcher.options); return !!pattern && names.some((n) => pattern.test(n)); }
    case "byFrameRefID": return field.ref === matcher.options;
    case "byType": return field.kind === { number: "number", time: "time", string: "text" }[matcher.options];
    default: return false;
  }
}

/**
 * The configuration of each field: the panel's defaults with the overrides that match.  `displayName` is the final name.
 * @returns {Record<string, any>[]} in the order of the fields
 */
export function configured(panel, fields) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  return fields.map((field, index) => {
    const config = { ...defaults, custom: { ...(defaults.custom ?? {}) } };
    const named = (template) => (template ? templateName(template, field, fields) : plainName(field, fields));
    const names = [...new Set([named(defaults.displayName), plainName(field, fields), field.name])];
    for (const { matcher, properties } of overrides) {
      if (!matches(matcher, field, names)) continue;
      for (const { id, value } of properties) {
        if (id.startsWith("custom.")) assign(config.custom, id.slice(7).split("."), value);
        else config[id] = value;
      }
    }
    config.displayName = named(config.displayName) || plainName(field, fields);
    config.index = index;
    return config;
  });
}

function assign(target, path, value) {
  const [first, ...rest] = path;
  if (!rest.length) target[first] = value;
  else assign((target[first] = { ...(target[first] ?? {}) }), rest, value);
}

/** The last step that the value has reached; null without thresholds. */
export function thresholdOf(value, thresholds) {
  const steps = thresholds?.steps ?? [];
  if (!steps.length) return null;
  let found = steps[0];
  for (const step of steps) if (step.value === null || step.value === undefined || value >= step.value) found = step;
  return found;
}

/** What a value is mapped to: {text?, color?}; null when nothing fits. */
export function mappingOf(value, mappings) {
  for (const { type, options } of mappings ?? []) {
    if (type === "value" && value !== null && Object.hasOwn(options, String(value))) return options[String(value)];
    if (type === "range" && typeof value === "number" && value >= (options.from ?? -Infinity)
        && value <= (options.to ?? Infinity)) return options.result;
    if (type === "special" && isSpecial(options.match, value)) return options.result;
    if (type === "regex" && typeof value === "string" && patternOf(options.pattern)?.test(value)) return options.result;
  }
  return null;
}

function isSpecial(match, value) {
  const none = value === null || value === undefined;
  const nan = Number.isNaN(value);
  return { null: none, nan, "null+nan": none || nan, empty: value === "", true: value === true, false: value === false }[match]
    ?? false;
}

/** The colour of a series as a whole. */
export function seriesColor(config, theme) {
  const { mode = "palette-classic", fixedColor } = config.color ?? {};
  if (mode === "fixed" || mode === "shades") return colorOf(fixedColor ?? "text", theme);
  if (mode === "thresholds") return colorOf(config.thresholds?.steps?.[0]?.color ?? "green", theme);
  if (mode.startsWith("continuous-")) return scaleColor(mode, 0.8, theme) ?? paletteColor(config.index, theme);
  return paletteColor(config.index, theme);
}

/**
 * A value as it is shown.  `color` is CSS or null; `named` the colour's name in the dashboard, which means something.
 * @param {{min: number, max: number}} [extent] of a continuous scale without its own ends
 * @returns {{text: string, suffix: string, color: string|null, named: string|null}}
 */
export function shown(value, config, theme, extent) {
  const mapped = mappingOf(value, config.mappings);
  const none = value === null || value === undefined || Number.isNaN(value);
  let printed;
  if (mapped?.text) printed = { text: mapped.text, suffix: "" };
  else if (none) printed = { text: config.noValue ?? "–", suffix: "" };
  else if (config.kind === "time" && !/^dateTime/.test(config.unit ?? "")) printed = print(asTime(value), "dateTimeAsIso");
  else printed = print(config.kind === "text" ? asText(value) : value, config.unit, config.decimals);
  const named = mapped?.color ?? (none ? null : valueColor(value, config));
  const scale = config.color?.mode?.startsWith("continuous-") && typeof value === "number" && !mapped?.color
    ? scaleColor(config.color.mode, part(value, config, extent), theme) : null;
  return { ...printed, color: scale ?? (named ? colorOf(named, theme) : null), named };
}

function valueColor(value, config) {
  const mode = config.color?.mode ?? "thresholds";
  if (mode === "thresholds" && typeof value === "number") return thresholdOf(value, config.thresholds)?.color ?? null;
  return mode === "fixed" ? config.color.fixedColor ?? null : null;
}

function part(value, config, extent) {
  const low = config.min ?? extent?.min ?? 0;
  const high = config.max ?? extent?.max ?? 1;
  return high > low ? (value - low) / (high - low) : 0;
}

function asTime(value) {
  return typeof value === "number" ? value : String(value);
}

function asText(value) {
  return typeof value === "object" ? JSON.stringify(value) : value;
}
