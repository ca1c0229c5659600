// Dark or light: by the address, else as chosen before, else as the system prefers.

const KEY = "flowtide-theme";

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser may forbid storage
  }
}

/** The theme that counts. */
export function themeOf(wanted) {
  const known = wanted || remembered();
  if (known === "dark" || known === "light") return known;
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}

/** Show it. */
export function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

/** Remember a choice for the next visit. */
export function rememberTheme(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // then the next visit begins as the system prefers
  }
}
