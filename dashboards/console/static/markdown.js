// The little markdown that text panels use: paragraphs, lists, headings, bold, code, links.  It makes tokens, not
// markup, so that nothing in a dashboard can become an element that is not in this list.

const INLINE = /\*\*([^*]+)\*\*|`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)/g;

/** Whether a link may be followed: of this site, or http(s). */
export function isSafeLink(target) {
  return /^https?:\/\//i.test(target) || (/^\/(?!\/)/.test(target)) || target.startsWith("#");
}

/** Runs of one line: {kind: "text"|"bold"|"code"|"link", text, target?}. */
export function runs(line) {
  const found = [];
  let done = 0;
  for (const match of line.matchAll(INLINE)) {
    if (match.index > done) found.push({ kind: "text", text: line.slice(done, match.index) });
    const [whole, bold, code, text, target] = match;
    if (bold) found.push({ kind: "bold", text: bold });
    else if (code) found.push({ kind: "code", text: code });
    else found.push(isSafeLink(target) ? { kind: "link", text, target } : { kind: "text", text });
    done = match.index + whole.length;
  }
  if (done < line.length) found.push({ kind: "text", text: line.slice(done) });
  return found;
}

/** Blocks of a text: {kind: "p"|"li"|"h", runs}. */
export function blocks(text) {
  const found = [];
  let open = null;
  for (const line of text.split(/\r?\n/)) {
    const item = /^\s*[-*]\s+(.*)$/.exec(line);
    const heading = /^#{1,4}\s+(.*)$/.exec(line);
    if (!line.trim()) open = null;
    else if (item) found.push((open = { kind: "li", text: item[1] }));
    else if (heading) {
      found.push({ kind: "h", text: heading[1] });
      open = null;
    } else if (open) open.text += ` ${line.trim()}`;
    else found.push((open = { kind: "p", text: line.trim() }));
  }
  return found.map(({ kind, text: words }) => ({ kind, runs: runs(words) }));
}
