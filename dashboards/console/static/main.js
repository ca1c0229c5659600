// The shell: the bar, the address, and the page that the address names.

import * as api from "./api.js";
import { AlertsPage } from "./alertspage.js";
import { Badge } from "./badge.js";
import { Dashboard } from "./dashboard.js";
import { announce, el, fill, iconButton } from "./dom.js";
import { Indicator } from "./freshness.js";
import { Picker } from "./picker.js";
import { plotlyAfter, plotlyAt } from "./plot.js";
import { closePopup } from "./popup.js";
import { SqlPage } from "./sqlpage.js";
import { REFRESH, readAddress, writeAddress } from "./state.js";
import { applyTheme, rememberTheme, themeOf } from "./theme.js";
import { isoDay, isoClock } from "./units.js";

const TICK_MS = 1000;

class Shell {
  constructor(menu, me) {
    Object.assign(this, { menu, me });
    this.state = readAddress(location.pathname, location.search);
    this.page = null;
    this.content = document.getElementById("content");
    this.indicator = new Indicator();
    this.facts = null;
    this.badge = new Badge();
    this._bar();
    addEventListener("popstate", () => {
      closePopup();
      this._arrive(readAddress(location.pathname, location.search));
    });
    addEventListener("keydown", (event) => this._key(event));
    document.addEventListener("click", (event) => this._follow(event));
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.page?.refresh?.(); });
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this._theme());
    setInterval(() => this._tick(), TICK_MS);
  }

  theme() {
    return document.documentElement.dataset.theme;
  }

  /** Change the address and what is shown with it. */
  go(patch, replace = false) {
    const next = { ...this.state, ...patch };
    const address = writeAddress(next);
    if (address === location.pathname + location.search) return;
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this._arrive(next);
  }

  /** How fresh the page's panels are. */
  fresh(facts) {
    this.facts = facts;
    this.indicator.set({ ...facts, now: Date.now() });
  }

  _tick() {
    if (this.facts) this.indicator.set({ ...this.facts, now: Date.now() });
    const now = Date.now();
    if (this.state.wall) fill(this.clock, el("span", { class: "day" }, isoDay(now)), isoClock(now));
  }

  _bar() {
    const { link, sun } = {
      link: iconButton("link", "Copy a link to this view", () => this._copy()),
      sun: iconButton("sun", "Change between dark and light", () => this._toggleTheme()),
    };
    this.tabs = el("nav", { class: "tabs", "aria-label": "Dashboards" });
    this.picker = new Picker({
      pick: (from, to) => this.go({ from, to }), shift: (direction) => this.page.shift(direction),
      zoomOut: () => this.page.zoomOut(),
    }, this.me.timezone);
    this.interval = el("select", { id: "refresh", on: { change: () => this.go({ refresh: this.interval.value }, true) } },
      REFRESH.map((value) => el("option", { value }, value || "Off")));
    this.timeControls = el("div", { class: "controls" }, this.picker.node,
      el("div", { class: "group" }, el("label", { for: "refresh", class: "spoken" }, "Refresh every"),
        iconButton("refresh", "Refresh now", () => this.page.refresh()), this.interval));
    this.wallButton = iconButton("wall", "Wall mode: panels only, larger (Escape ends it)", () => this.go({ wall: true }));
    this.clock = el("div", { class: "clock" });
    this.wallTitle = el("div", { class: "wall-title" });
    this.leaveWall = el("button", { type: "button", class: "button leave-wall", on: { click: () => this.go({ wall: false }) } },
      "End wall mode");
    fill(document.getElementById("bar"),
      el("div", { class: "bar-row" }, el("a", { class: "brand", href: "/", "aria-label": "Flowtide, first dashboard" }, "flowtide"),
        this.tabs, this.wallTitle, el("div", { class: "space" }), this.indicator.node, this.timeControls,
        el("div", { class: "group tools" }, link, sun, this.wallButton, this.me.user
          ? el("span", { class: "user", title: "Signed in as" }, this.me.user) : null), this.clock, this.leaveWall),
      this.indicator.alarm);
    this._tabs();
  }

  _tabs() {
    const focused = this.tabs.contains(document.activeElement);
    const entries = [...this.menu.map(({ uid, title, description }) => ({ page: "dashboard", uid, title, description })),
      { page: "alerts", uid: "", title: "Alerts", description: "What fires, what cannot be judged, and what happened lately" },
      { page: "sql", uid: "", title: "SQL", description: "Worked queries, and questions of your own" }];
    fill(this.tabs, entries.map(({ page, uid, title, description }) => {
      const here = page === this.state.page && uid === this.state.uid;
      // The range goes along: who looks at last night wants the other dashboards of last night.
      const { from, to, theme } = this.state;
      const target = writeAddress({ page, uid, from, to, refresh: null, variables: {}, theme, wall: false, view: null });
      return el("a", { href: target, class: "tab", title: description || null, "aria-current": here ? "page" : null }, title,
        page === "alerts" ? this.badge.node : null);
    }));
    if (focused) this.tabs.querySelector("[aria-current]")?.focus();
  }

  /** Links inside the console change the page, not the document. */
  _follow(event) {
    const anchor = event.target.closest?.("a[href]");
    if (!anchor || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const url = new URL(anchor.href, location.href);
    const ours = url.origin === location.origin && !anchor.hasAttribute("download") && !anchor.target
      && (/^\/d\//.test(url.pathname) || url.pathname === "/sql" || url.pathname === "/alerts" || url.pathname === "/");
    if (!ours || anchor.classList.contains("skip")) return;
    event.preventDefault();
    document.querySelectorAll("dialog[open]").forEach((box) => box.close());
    history.pushState(null, "", url.pathname + url.search + url.hash);
    this._arrive(readAddress(url.pathname, url.search));
  }

  _key(event) {
    if (event.key !== "Escape" || document.querySelector("dialog[open]") || event.defaultPrevented) return;
    if (this.state.view) this.go({ view: null });
    else if (this.state.wall) this.go({ wall: false });
  }

  async _copy() {
    try {
      await navigator.clipboard.writeText(location.href);
      this._say("The link is copied");
    } catch {
      // Without https a browser gives no clipboard; the address bar has the link anyway.
      this._say("This browser does not let the page copy: the address bar holds the link");
    }
  }

  _say(words) {
    announce(words);
    const note = el("div", { class: "toast" }, words);
    document.body.append(note);
    setTimeout(() => note.remove(), 2500);
  }

  _toggleTheme() {
    const theme = this.theme() === "dark" ? "light" : "dark";
    rememberTheme(theme);
    this.go({ theme }, true);
  }

  _theme() {
    const theme = themeOf(this.state.theme);
    if (theme === this.theme()) return;
    applyTheme(theme);
    this.page?.repaint?.();
  }

  /** Show the page of this state. */
  async _arrive(state) {
    const [first] = this.menu;
    const before = this.state;
    this.state = state.page === "dashboard" && !state.uid && first ? { ...state, uid: first.uid } : state;
    if (this.state !== state) history.replaceState(null, "", writeAddress(this.state));
    this._theme();
    const same = this.page && before.page === this.state.page && before.uid === this.state.uid;
    if (same) this.page.update(this.state);
    else await this._open();
    this._tabs();
    this._chrome();
  }

  async _open() {
    this.page?.close();
    [this.page, this.facts] = [null, null];
    const { page, uid } = this.state;
    document.body.classList.toggle("on-sql", page === "sql");
    if (page !== "dashboard") {
      document.body.classList.remove("wall");
      this.page = page === "sql" ? new SqlPage(this.state) : new AlertsPage(this.badge);
      fill(this.content, this.page.node);
      return void scrollTo(0, 0);
    }
    try {
      const definition = await api.dashboard(uid);
      if (this.state.uid !== uid || this.state.page !== page) return;
      this.page = new Dashboard(definition, this.state, this);
      fill(this.content, this.page.node);
      scrollTo(0, 0);
    } catch (problem) {
      fill(this.content, el("div", { class: "page-problem", role: "alert" }, el("h1", {}, "This dashboard cannot be shown"),
        el("p", {}, problem.message), this.menu.length ? el("p", {}, el("a", { href: `/d/${this.menu[0].uid}` },
          `Open ${this.menu[0].title}`)) : null));
    }
  }

  _chrome() {
    const board = this.page instanceof Dashboard ? this.page : null;
    this.timeControls.hidden = this.wallButton.hidden = this.indicator.node.hidden = !board;
    if (!board) this.indicator.alarm.hidden = true;
    if (!board) return;
    const { from, to } = board.span;
    this.picker.set(from, to);
    this.interval.value = REFRESH.includes(board.refreshText) ? board.refreshText : "";
    fill(this.wallTitle, el("strong", {}, board.definition.title),
      el("span", {}, [this.picker.words.textContent, ...board.filterWords()].join(" · ")));
    this._tick();
  }

  start() {
    return this._arrive(this.state);
  }
}

async function boot() {
  applyTheme(themeOf(readAddress(location.pathname, location.search).theme));
  const content = document.getElementById("content");
  try {
    const [menu, me] = await Promise.all([api.dashboards(), api.me()]);
    plotlyAt(me.plotly);
    plotlyAfter(firstNumbers());
    const shell = new Shell(menu, me);
    await shell.start();
    performance.mark("flowtide-shell");
  } catch (problem) {
    fill(content, el("div", { class: "page-problem", role: "alert" }, el("h1", {}, "The console does not answer"),
      el("p", {}, problem.message), el("button", { type: "button", class: "button primary", on: { click: () => location.reload() } },
        "Try again")));
  }
}

/** Resolves once a number or a table is seen, or after a while without: then the drawing library may come. */
function firstNumbers() {
  return new Promise((resolve) => {
    const done = () => { watching.disconnect(); resolve(); };
    const watching = new MutationObserver(() => {
      if (document.querySelector(".stat-value, .table")) requestAnimationFrame(() => setTimeout(done));
    });
    watching.observe(document.getElementById("content"), { childList: true, subtree: true });
    setTimeout(done, 500);
  });
}

boot();
