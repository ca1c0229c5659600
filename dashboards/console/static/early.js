// Runs before the first paint, so that a dark room never sees a white flash: the same choice as theme.js makes.
(function () {
  let theme = new URLSearchParams(location.search).get("theme");
  try {
    theme = theme || localStorage.getItem("flowtide-theme");
  } catch (_) {
    theme = theme || "";
  }
  if (theme !== "dark" && theme !== "light") {
    theme = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  }
  document.documentElement.dataset.theme = theme;
})();
