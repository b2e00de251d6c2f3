// @ts-check
// Enhancements only: every page works without this file. It adds keys, copying, local times, and the hint that something changed.

const root = document.documentElement;
root.classList.add("js");

/** @param {string} key @returns {string | null} */
function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
/** @param {string} key @param {string} value */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is switched off: the choice holds for this page only.
  }
}

/* Times: the page is in UTC; with a script it can be in the reader's zone. */

let zone = remembered("avouch-zone") === "local" ? "local" : "utc";
const local = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

/** @param {ParentNode} within */
function showTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.getAttribute("datetime") ?? "");
    if (Number.isNaN(at.getTime())) continue;
    const utc = at.toISOString().slice(0, 19).replace("T", " ") + " UTC";
    const text = zone === "local" ? local.format(at) : utc;
    if (time.hasAttribute("data-age")) time.setAttribute("title", text);
    else time.textContent = text;
  }
}

function zoneSwitch() {
  const foot = document.querySelector("footer.foot");
  if (!foot) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  const label = document.querySelector("#zone");
  const name = () => {
    if (label) label.textContent = zone === "local" ? "Times in your zone" : "Times in UTC";
    button.textContent = zone === "local" ? "Show UTC" : "Show my zone";
  };
  name();
  button.addEventListener("click", () => {
    zone = zone === "local" ? "utc" : "local";
    remember("avouch-zone", zone);
    name();
    showTimes(document);
  });
  foot.append(button);
}

/* Copying */

/** @param {string} text @param {Element} button */
async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
  if (!button) return;
  const code = button.parentElement?.querySelector("code");
  if (code) void copy(code.textContent ?? "", button);
});

/* One open menu at a time; a click elsewhere closes it. */

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".menu[open], .actions .cli[open]")) {
    if (event.target instanceof Node && !menu.contains(event.target)) menu.removeAttribute("open");
  }
});

/* Keys */

let keysOff = remembered("avouch-keys") === "off";
/** @type {number | undefined} */
let goUntil;

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** @returns {HTMLElement[]} */
function rows() {
  return [...document.querySelectorAll("main [data-row]")].filter((r) => r instanceof HTMLElement);
}

/** @param {number} step */
function move(step) {
  const all = rows();
  const at = all.findIndex((r) => r.classList.contains("is-at"));
  const next = all[Math.min(all.length - 1, Math.max(0, at + step))];
  if (!next) return;
  for (const r of all) r.classList.remove("is-at");
  next.classList.add("is-at");
  const link = next.querySelector("[data-open]");
  if (link instanceof HTMLElement) link.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function current() {
  return document.querySelector("main .is-at [data-open]");
}

function toSearch() {
  const field = document.querySelector("#q, #quick");
  if (field instanceof HTMLInputElement) {
    field.focus();
    field.select();
  }
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") {
    event.preventDefault();
    toSearch();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    const menu = document.querySelector(".menu[open], .actions .cli[open]");
    if (menu) {
      menu.removeAttribute("open");
      menu.querySelector("summary")?.focus();
      return;
    }
    if (isTyping(event.target)) return;
    const close = document.querySelector("[data-close]");
    if (close instanceof HTMLElement) close.click();
    return;
  }
  if (keysOff || isTyping(event.target)) return;
  if (goUntil && Date.now() < goUntil) {
    goUntil = undefined;
    const tab = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (tab instanceof HTMLElement) {
      event.preventDefault();
      tab.click();
    }
    return;
  }
  switch (event.key) {
    case "/":
      event.preventDefault();
      toSearch();
      break;
    case "j":
      move(1);
      break;
    case "k":
      move(-1);
      break;
    case "o": {
      const link = current();
      if (link instanceof HTMLAnchorElement) window.open(link.href, "_blank", "noopener");
      break;
    }
    case "c": {
      const cli = document.querySelector("main .cli");
      const code = cli?.querySelector("code");
      const summary = cli?.querySelector("summary");
      if (code && summary) void copy(code.textContent ?? "", summary);
      break;
    }
    case "g":
      goUntil = Date.now() + 1500;
      break;
    case "?":
      location.assign("/help");
      break;
  }
});

function keysSwitch() {
  const box = document.querySelector("[data-keys-off]");
  if (!(box instanceof HTMLInputElement)) return;
  box.checked = keysOff;
  box.addEventListener("change", () => {
    keysOff = box.checked;
    remember("avouch-keys", keysOff ? "off" : "on");
  });
}

/* Live: one stream per visible tab. The page never moves by itself; a link offers what is new. */

/** @type {EventSource | undefined} */
let stream;
let changes = 0;

function topics() {
  return (document.querySelector("#page")?.getAttribute("data-topics") ?? "").split(" ").filter(Boolean);
}

/** @param {string} text */
function offer(text) {
  const news = document.querySelector("#news");
  if (!news) return;
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = text;
  link.addEventListener("click", (event) => {
    event.preventDefault();
    location.reload();
  });
  news.replaceChildren(link);
}

function listen() {
  const address = document.body.dataset.live;
  if (!address || stream || document.hidden || topics().length === 0) return;
  stream = new EventSource(address);
  stream.addEventListener("change", (event) => {
    if (!(event instanceof MessageEvent)) return;
    const change = JSON.parse(event.data);
    if (!topics().includes(change.topic)) return;
    changes += 1;
    offer(changes === 1 ? "Something changed · show" : `${changes} changes · show`);
  });
  stream.addEventListener("refresh", () => offer("This page may be old · show"));
}

function hush() {
  stream?.close();
  stream = undefined;
}

document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
window.addEventListener("pagehide", hush);

/* After htmx put a fragment in place. */

document.addEventListener("htmx:afterSwap", () => {
  const page = document.querySelector("#page");
  if (!(page instanceof HTMLElement)) return;
  document.title = page.dataset.title ?? document.title;
  changes = 0;
  document.querySelector("#news")?.replaceChildren();
  showTimes(page);
  const field = page.querySelector("#filter");
  if (field instanceof HTMLInputElement) {
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
});

showTimes(document);
zoneSwitch();
keysSwitch();
listen();
const panel = document.querySelector("#panel-title");
if (panel instanceof HTMLElement) panel.focus({ preventScroll: true });
