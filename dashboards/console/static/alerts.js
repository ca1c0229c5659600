// What the page of alerts says, from what the server says.  Values in, values out.

export const SEVERITIES = [["page", "Page: wakes somebody"], ["warn", "Warn: for the shift"], ["notice", "Notice: for the day"],
  ["info", "Info: why others are silent"], ["", "Without a severity"]];

const RANK = { firing: 0, error: 1, pending: 2, unknown: 3, nodata: 4, normal: 5 };

/** States in words, with the sign beside them: colour alone must not tell. */
export const STATES = {
  firing: { words: "Firing", sign: "warning" }, error: { words: "Error", sign: "close" },
  pending: { words: "Pending", sign: "clock" }, unknown: { words: "Not evaluated yet", sign: "clock" },
  nodata: { words: "No judgement", sign: "info" }, normal: { words: "Normal", sign: "check" },
  resolved: { words: "Resolved", sign: "check" },
};

/** The state's words and sign; one that is not known is said as it came. */
export function stateOf(state) {
  return STATES[state] ?? { words: String(state), sign: "info" };
}

/** What a rule is as a whole: its worst; an error of the rule hides no instance that fires. */
export function worst(rule) {
  const states = [rule.state, ...rule.instances.map(({ state }) => state)];
  return states.reduce((one, other) => ((RANK[other] ?? 1) < (RANK[one] ?? 1) ? other : one));
}

/** Rules by severity, those that need a look first. */
export function bySeverity(rules) {
  const known = new Set(SEVERITIES.map(([severity]) => severity));
  return SEVERITIES.map(([severity, title]) => ({ severity, title, rules: rules
    .filter((rule) => (known.has(rule.severity) ? rule.severity : "") === severity)
    .sort((a, b) => (RANK[worst(a)] ?? 1) - (RANK[worst(b)] ?? 1)) })).filter((group) => group.rules.length);
}

/** How many instances are in each state that is not normal, and how many rules say nothing: "2 firing, 1 pending". */
export function summary(rules) {
  const instances = rules.flatMap((rule) => rule.instances);
  const count = (state) => instances.filter((one) => one.state === state).length;
  const troubled = (state) => rules.filter((rule) => rule.state === state).length;
  const silenced = instances.filter((one) => one.state === "firing" && one.silenced).length;
  const parts = [[count("firing"), silenced ? `firing (${silenced} silenced)` : "firing"], [count("pending"), "pending"], [troubled("error"), "rules in error"],
    [troubled("nodata"), "rules without a judgement"], [troubled("unknown"), "rules not evaluated yet"]];
  const said = parts.filter(([number]) => number).map(([number, words]) => `${number} ${number === 1 ? words.replace("rules", "rule") : words}`);
  return said.length ? said.join(", ") : "nothing fires";
}

/** Labels as people write them; those that all instances of a rule share are not said again. */
export function labelWords(labels) {
  const own = Object.entries(labels ?? {}).filter(([name, value]) => value && !["severity", "rule", "definition"].includes(name));
  return own.length ? own.map(([name, value]) => `${name}=${value}`).join(", ") : "all";
}

/** Numbers of a judgement by their letters. */
export function valueWords(values) {
  return Object.entries(values ?? {}).map(([name, value]) => `${name} = ${Number(value.toPrecision(4))}`).join(", ");
}

/** The console's own address of a rule's panel; null without one. */
export function panelLink({ annotations }) {
  const { __dashboardUid__: uid, __panelId__: panel } = annotations;
  return uid ? `/d/${encodeURIComponent(uid)}${/^\d+$/.test(panel ?? "") ? `?view=${panel}` : ""}` : null;
}

/** Minutes, hours or days between two moments. */
export function lasted(ms) {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  if (minutes < 60) return `${minutes} min`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.round(minutes / 1440)} days`;
}
