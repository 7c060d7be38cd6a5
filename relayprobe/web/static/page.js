// Keeps a page fresh and adds the keys. The server makes all HTML, escaped; news only say that something changed, and
// then the piece that changed is fetched, at most so often. Without this script the pages are whole, and stand still.
"use strict";

const base = document.body.dataset.base;
const live = document.body.dataset.live || "";
const words = document.body.dataset;
const policy = window.trustedTypes
  ? window.trustedTypes.createPolicy("relayprobe", { createHTML: (text) => text })
  : { createHTML: (text) => text };

// Calls `work` now, and then at most once in `pause` milliseconds, never twice at once.
function seldom(pause, work) {
  let busy = false, again = false;
  return async function call() {
    if (busy) { again = true; return; }
    busy = true;
    try { await work(); } catch { /* the next news try again */ }
    setTimeout(() => { busy = false; if (again) { again = false; call(); } }, pause);
  };
}

async function fetched(path) {
  const answer = await fetch(base + path, { headers: { Accept: "text/html" } });
  if (answer.status !== 200) return null;
  return new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html");
}

function put(id, made) {
  const here = document.getElementById(id), there = made.getElementById(id);
  if (here && there) here.replaceWith(document.adoptNode(there));
}

// The list

let waiting = null;

function showList(made) {
  const ticked = [...document.querySelectorAll("#list input:checked")].map((one) => one.value);
  const chosen = document.querySelector("tr.chosen")?.dataset.id;
  put("list", made);
  for (const box of document.querySelectorAll("#list input")) box.checked = ticked.includes(box.value);
  if (chosen) document.querySelector(`tr[data-id="${CSS.escape(chosen)}"]`)?.classList.add("chosen");
  waiting = null;
  document.querySelector(".fresh")?.remove();
}

// The list stands still under somebody who reads in it: then a button tells that there is more.
function reading() {
  const list = document.getElementById("list");
  return window.scrollY > 40 || list.contains(document.activeElement) || list.querySelector("tr.chosen, input:checked");
}

const freshList = seldom(500, async () => {
  const made = await fetched("/live/sessions" + location.search);
  if (!made) return;
  if (!document.getElementById("open").contains(document.activeElement)) put("open", made);
  if (!reading()) { showList(made); return; }
  waiting = made;
  if (document.querySelector(".fresh")) return;
  const button = document.createElement("button");
  button.className = "fresh";
  button.type = "button";
  button.textContent = words.new;
  button.addEventListener("click", () => { showList(waiting); window.scrollTo(0, 0); });
  document.getElementById("list").before(button);
});

// A session that goes on: rows are added, so that nothing moves under the reader.

function freshSession(id) {
  return seldom(400, async () => {
    const made = await fetched("/live/sessions/" + id);
    if (!made) { location.reload(); return; }
    const body = document.querySelector("#dialogue tbody");
    const rows = [...made.querySelectorAll("#dialogue tbody tr")];
    const known = body.rows.length;
    rows.slice(0, known).forEach((row, at) => {
      if (row.textContent !== body.rows[at].textContent) body.rows[at].replaceWith(document.adoptNode(row));
    });
    for (const row of rows.slice(known)) body.append(document.adoptNode(row));
    if (!document.getElementById("findings")?.contains(document.activeElement)) put("findings", made);
  });
}

if (live) {
  const session = live.startsWith("session:") ? live.slice(8) : null;
  const fresh = session ? freshSession(session) : freshList;
  const source = new EventSource(`${base}/api/v1/events${session ? `?session=${session}` : ""}`);
  for (const kind of session ? ["lines", "open", "missed"] : ["sessions", "open", "missed"]) {
    source.addEventListener(kind, fresh);
  }
  source.addEventListener("open", fresh);
  window.addEventListener("pagehide", () => source.close());
}

// The keys

function choose(step) {
  const rows = [...document.querySelectorAll("main tr[data-id]")];
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.classList.contains("chosen"));
  const next = rows[Math.min(Math.max(now + step, 0), rows.length - 1)];
  rows[now]?.classList.remove("chosen");
  next.classList.add("chosen");
  next.querySelector("a").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  j: () => choose(1),
  k: () => choose(-1),
  "/": () => (document.getElementById("search-q") || { focus: () => location.assign(base + "/") }).focus(),
  u: () => location.assign(base + "/"),
  "?": () => document.getElementById("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input, textarea, select, dialog[open]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const does = KEYS[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});

// A link to a line takes the keyboard there, too.
function toLine() {
  const there = location.hash.startsWith("#line-") && document.getElementById(location.hash.slice(1));
  if (!there) return;
  there.tabIndex = -1;
  there.focus();
}
window.addEventListener("hashchange", toLine);
toLine();
