// Asking the server: at most six things at once, and nothing for a state that is no longer shown.

const AT_ONCE = 6;
const TIMEOUT_MS = 60_000;

/** What the server said, or that it said nothing. */
export class AskError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** Whether the store or the server did not answer, rather than refuse. */
  get isDown() {
    return this.status === 0 || this.status >= 502;
  }
}

let running = 0;
const queue = [];

async function turn(signal) {
  if (running >= AT_ONCE) {
    await new Promise((resolve, reject) => {
      const waiting = { resolve };
      queue.push(waiting);
      signal?.addEventListener("abort", () => {
        const at = queue.indexOf(waiting);
        if (at >= 0) queue.splice(at, 1);
        reject(signal.reason);
      }, { once: true });
    });
  }
  if (signal?.aborted) {
    queue.shift()?.resolve(); // the place was given to us; somebody else may want it
    throw signal.reason;
  }
  running += 1;
}

function leave() {
  running -= 1;
  queue.shift()?.resolve();
}

/** Whole numbers beyond what a number holds stay as the text that came: an identifier is shown to its last digit. */
export function exact(_, value, context) {
  const text = context?.source;
  return typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(text ?? "") ? text : value;
}

async function ask(path, { body, signal, reviver } = {}) {
  const patience = AbortSignal.timeout(TIMEOUT_MS);
  const either = signal ? AbortSignal.any([signal, patience]) : patience;
  let answer;
  try {
    answer = await fetch(path, {
      signal: either, credentials: "same-origin", cache: "no-store",
      ...(body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text, reviver);
    throw new AskError(words(answer, text), answer.status);
  } catch (problem) {
    if (problem instanceof AskError || signal?.aborted) throw problem;
    if (patience.aborted) throw new AskError(`no answer within ${TIMEOUT_MS / 1000} s`, 504);
    throw new AskError(answer ? `the answer cannot be read: ${problem.message}` : "the console's server does not answer", 0);
  }
}

function words(answer, text) {
  try {
    const { error } = JSON.parse(text);
    if (error) return String(error);
  } catch {
    // not ours: a proxy's page
  }
  if (answer.status === 401) return "not signed in: reload the page to sign in";
  return `${answer.status} ${answer.statusText}`.trim();
}

/** Ask in turn. */
async function inTurn(path, options) {
  await turn(options.signal);
  try {
    return await ask(path, options);
  } finally {
    leave();
  }
}

const at = encodeURIComponent;

/** Who we are and what the server is. */
export const me = () => ask("/api/me");
/** The menu. */
export const dashboards = () => ask("/api/dashboards");
/** One dashboard as it is in its file. */
export const dashboard = (uid, signal) => ask(`/api/dashboards/${at(uid)}`, { signal });
/** Choices of all variables. */
export const variables = (uid, range, signal) => ask(`/api/dashboards/${at(uid)}/variables`, { body: range, signal });
/** The answers of a panel's queries. */
export const panel = (uid, id, body, signal) => inTurn(`/api/dashboards/${at(uid)}/panels/${at(id)}`, { body, signal });
/** What happened in a range, to be marked in a dashboard's charts. */
export const annotations = (uid, range, signal) => ask(`/api/dashboards/${at(uid)}/annotations`, { body: range, signal });
/** The alert rules with their states, and silences. */
export const alerts = (signal) => ask("/api/alerts", { signal });
/** How many alerts fire, by severity. */
export const firing = () => ask("/api/alerts/firing");
/** What happened to alerts lately. */
export const alertHistory = (signal) => ask("/api/alerts/history", { signal });
/** The worked queries. */
export const queries = () => ask("/api/queries");
/** The answer of a query. */
export const sql = (body, signal) => ask("/api/sql", { body, signal, reviver: exact });

/** Where the rows of a panel are as a file. */
export function csvAddress(uid, id, { from, to, max_points, variables: chosen }) {
  const fields = new URLSearchParams({ from, to, max_points });
  for (const [name, values] of Object.entries(chosen)) for (const value of values) fields.append(`var-${name}`, value);
  return `/api/dashboards/${at(uid)}/panels/${at(id)}/csv?${fields}`;
}

/** The rows of a query as a file. */
export async function sqlCsv(body, signal) {
  const answer = await fetch("/api/sql?format=csv", { method: "POST", signal, credentials: "same-origin",
    headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new AskError(words(answer, await answer.text()), answer.status);
  return answer.blob();
}
