// Keeps a page up to date, and moves in it by keyboard. The page is whole without this.
// What changes is fetched as HTML that the server has made and escaped; news only say that there is something to fetch.
"use strict";
(() => {
  const base = document.body.dataset.base || "";
  const main = document.getElementById("main");
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("relayprobe", { createHTML: (html) => html })
    : { createHTML: (html) => html };

  const parsed = (html) => new DOMParser().parseFromString(policy.createHTML(html), "text/html").body;

  const fetched = async (address) => {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    return parsed(await answer.text());
  };

  // Runs at once, and then again at most every so many milliseconds, however often it is asked for.
  const seldom = (run, pause) => {
    let waiting = false, again = false;
    return async function ask() {
      if (waiting) { again = true; return; }
      waiting = true;
      try { await run(); } catch { /* the next news bring it */ }
      setTimeout(() => { waiting = false; if (again) { again = false; ask(); } }, pause);
    };
  };

  const listen = (query, kinds) => {
    let source = null;
    const open = () => {
      source = new EventSource(`${base}/api/v1/events${query}`);
      for (const [kind, told] of Object.entries(kinds)) source.addEventListener(kind, (event) => told(JSON.parse(event.data)));
    };
    const close = () => { source?.close(); source = null; };
    // A browser has six connections for one server: windows that nobody sees give theirs back, and catch up later.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) close();
      else if (!source) { open(); kinds.missed?.({}); }
    });
    addEventListener("pagehide", close);
    if (!document.hidden) open();
  };

  // The list: new rows come in where nobody reads further down, has ticked anything, or is in the table by keyboard.
  const list = () => {
    const rows = document.getElementById("rows"), news = document.getElementById("news");
    const here = new URL(location.href);
    here.searchParams.set("part", "rows");
    const show = async (wanted) => {
      const fresh = await fetched(here);
      if (!wanted && busy()) { news.hidden = false; return; } // somebody began to read meanwhile
      const known = new Set([...rows.querySelectorAll("tr[data-row] th a")].map((a) => a.href));
      rows.replaceChildren(...fresh.childNodes);
      for (const a of rows.querySelectorAll("tr[data-row] th a")) {
        if (known.size && !known.has(a.href)) a.closest("tr").classList.add("fresh");
      }
      news.hidden = true;
    };
    const busy = () => scrollY > 300 || rows.contains(document.activeElement) || rows.querySelector("input:checked, tr.here");
    const look = seldom(async () => { if (busy()) news.hidden = false; else await show(false); }, 1000);
    news.addEventListener("click", () => { show(true); scrollTo({ top: 0 }); });
    listen("", { sessions: look, connected: look, missed: look });
  };

  // An open session: its new lines are put below those that are there.
  const session = (id) => {
    const place = document.getElementById("lines");
    const look = seldom(async () => {
      const fresh = await fetched(`${base}/sessions/${id}/lines`);
      const there = place.querySelectorAll("tbody tr").length;
      const low = innerHeight + scrollY > document.documentElement.scrollHeight - 80;
      const body = place.querySelector("tbody");
      const more = [...fresh.querySelectorAll("tbody tr")].slice(there);
      if (!body) place.replaceChildren(...fresh.childNodes); else body.append(...more);
      for (const row of more) row.classList.add("fresh");
      if (low && more.length) scrollTo({ top: document.documentElement.scrollHeight });
    }, 300);
    listen(`?session=${encodeURIComponent(id)}`, {
      lines: look,
      missed: look,
      sessions: (told) => { if (told.more || told.sessions.some((one) => one.id === id)) setTimeout(() => location.reload(), 400); },
    });
  };

  const keys = document.getElementById("keys");
  const rowsNow = () => [...document.querySelectorAll("tr[data-row]")];
  const go = (step) => {
    const rows = rowsNow();
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("here"));
    const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
    for (const row of rows) row.classList.remove("here");
    next.classList.add("here");
    next.querySelector("a")?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  const pressed = {
    j: () => go(1),
    k: () => go(-1),
    u: () => { location.href = `${base}/`; },
    "/": () => (document.getElementById("search-q") || { focus: () => { location.href = `${base}/#search-q`; } }).focus(),
    "?": () => keys.showModal(),
  };
  addEventListener("keydown", (event) => {
    const busy = event.target.closest("input, select, textarea, dialog[open]");
    if (busy || event.ctrlKey || event.metaKey || event.altKey || !(event.key in pressed)) return;
    event.preventDefault();
    pressed[event.key]();
  });
  for (const button of document.querySelectorAll("[data-keys]")) {
    button.hidden = false;
    button.addEventListener("click", () => keys.showModal());
  }

  // A finding leads to its line, and the line takes the focus, so that who cannot see it is there too.
  const arrive = () => {
    const place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (place) { place.tabIndex = -1; place.focus({ preventScroll: true }); }
  };
  addEventListener("hashchange", arrive);
  arrive();
  if (location.hash === "#search-q") document.getElementById("search-q")?.focus();
  const live = main?.dataset.live;
  if (live === "sessions") list();
  else if (live === "queue") {
    const look = seldom(async () => {
      if (main.contains(document.activeElement) && document.activeElement !== main) return;
      const fresh = await fetched(location.href);
      main.replaceChildren(...fresh.querySelector("main").childNodes);
    }, 1000);
    listen("", { mails: look, missed: look });
  }
  else if (live) session(live);
})();
