// The pages work without this. It keeps them live, and adds keys and the heat-map switch.
"use strict";

const main = document.getElementById("main");
const rows = document.getElementById("rows");
const problem = document.getElementById("problem");
document.documentElement.classList.add("js");

function tell(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

// --- live: server-sent events, going on after the last one that was seen --------------------------

let source = null;
let seen = main?.dataset.after;
let refreshing = null;

function connect() {
  if (source || !main?.dataset.live) return;
  source = new EventSource(`${main.dataset.live}&after=${seen}`);
  source.onopen = () => link(true);
  source.onerror = () => {
    link(false);
    // After an answer that is no stream the browser gives up; we do not.
    if (source?.readyState === EventSource.CLOSED) {
      disconnect();
      setTimeout(connect, 2000);
    }
  };
  source.addEventListener("case", (event) => {
    remember(event);
    const change = JSON.parse(event.data);
    if (rows) place(change);
    else if (change.id === main.dataset.case) refresh();
  });
  source.addEventListener("counts", (event) => {
    remember(event);
    const counts = JSON.parse(event.data);
    for (const shown of document.querySelectorAll("[data-count]"))
      shown.textContent = counts[shown.dataset.count];
    if (rows) {
      rows.dataset.total = counts.total;
      if (rows.children.length < Math.min(counts.total, rows.dataset.shown)) refillSoon();
      told();
    }
  });
  source.addEventListener("cut-off", (event) => {
    document.getElementById("cut-off").hidden = !JSON.parse(event.data);
  });
}

function remember(event) {
  if (event.lastEventId) seen = event.lastEventId;
}

function disconnect() {
  source?.close();
  source = null;
}

function link(up) {
  const shown = document.getElementById("link");
  shown.hidden = false;
  shown.classList.toggle("lost", !up);
  shown.textContent = up ? shown.dataset.live : shown.dataset.lost;
}

// A hidden tab needs no stream; a browser has only a few connections to one host.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) disconnect();
  else connect();
});
window.addEventListener("pagehide", disconnect);

// --- the queue: rows are the server's, already escaped --------------------------------------------

function parsed(html, selector) {
  return new DOMParser().parseFromString(html, "text/html").querySelector(selector);
}

function place(change) {
  const old = document.getElementById(`case-${change.id}`);
  const chosen = old?.classList.contains("chosen");
  const held = old?.contains(document.activeElement);
  if (change.html === null) {
    const next = old?.nextElementSibling ?? old?.previousElementSibling;
    if (chosen) choose(next, held);
    else if (held) next?.querySelector("a").focus({ preventScroll: true });
    old?.remove();
  } else {
    const row = document.importNode(parsed(`<table>${change.html}</table>`, "tr"), true);
    old?.remove();
    const key = Number(row.dataset.key);
    const next = [...rows.children].find((other) => Number(other.dataset.key) < key);
    // Below the last one shown there are others that are not: it may be below some of them.
    if (!next && !old && rows.children.length < Number(rows.dataset.total)) return;
    rows.insertBefore(row, next ?? null);
    if (held) row.querySelector("a").focus({ preventScroll: true });
    if (chosen) row.classList.add("chosen");
    if (!old) {
      row.classList.add("fresh");
      document.getElementById("said").textContent = document.body.dataset.arrived;
    }
    while (rows.children.length > Number(rows.dataset.shown)) rows.lastElementChild.remove();
  }
  told();
}

function told() {
  const [shown, total] = [rows.children.length, rows.dataset.total];
  const more = document.getElementById("more");
  more.hidden = total <= shown;
  more.textContent = more.dataset.text.replace("{shown}", shown).replace("{total}", total);
  document.getElementById("empty").hidden = shown > 0;
}

let refilling = null;
let turn = 0;
let wanted = location.href;

function refillSoon(afterMs = 500) {
  refilling ??= setTimeout(() => refill(wanted), afterMs);
}

// The queue as it is now, or another: the rows, what they are counted by, and where to go on.
async function refill(address) {
  clearTimeout(refilling);
  refilling = null;
  const mine = ++turn;
  const other = address !== location.href;
  wanted = address;
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    const html = await answer.text();
    if (mine !== turn) return; // another filter was chosen meanwhile
    if (!answer.ok) return other ? location.assign(address) : refillSoon(5000);
    const page = new DOMParser().parseFromString(html, "text/html");
    const chosen = rows.querySelector(".chosen")?.id;
    const held = rows.contains(document.activeElement) && document.activeElement.closest("tr").id;
    disconnect();
    history.replaceState(null, "", address);
    const fresh = page.getElementById("main");
    seen = fresh.dataset.after;
    main.dataset.live = fresh.dataset.live;
    rows.dataset.total = page.getElementById("rows").dataset.total;
    rows.replaceChildren(...page.getElementById("rows").children);
    for (const part of other ? [".views", ".languages"] : [])
      document.querySelector(part).replaceWith(page.querySelector(part));
    told();
    if (chosen) document.getElementById(chosen)?.classList.add("chosen");
    if (held) document.getElementById(held)?.querySelector("a").focus({ preventScroll: true });
    keepQueue();
    if (!document.hidden) connect();
  } catch {
    if (other) location.assign(address); // or else the stream tells when the console is back
  }
}

// So that the way back from an alert leads to the same queue.
function keepQueue() {
  const query = new URLSearchParams(location.search);
  query.delete("language"); // it may be another one by then
  sessionStorage.setItem("queue", `?${query}`);
}
if (rows) keepQueue();
const back = document.getElementById("back");
if (back) back.href = `/${sessionStorage.getItem("queue") ?? ""}`;

function choose(row, held = true) {
  if (!row) return;
  rows.querySelector(".chosen")?.classList.remove("chosen");
  row.classList.add("chosen");
  if (!held) return; // somebody is elsewhere on the page
  row.querySelector("a").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

rows?.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !event.target.closest("a")) row.querySelector("a").click();
});

// Without leaving the page, so that a filter can be moved through by arrows.
for (const select of document.querySelectorAll(".filter select"))
  select.addEventListener("change", () => {
    refill(`/?${new URLSearchParams(new FormData(select.form))}`);
  });

// --- one alert: parts that changed are taken from the page as it is now ---------------------------

async function refresh() {
  if (refreshing) return (refreshing = "again");
  do {
    refreshing = "now";
    try {
      const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
      if (answer.ok) renew(await answer.text());
    } catch {
      // The stream tells when the console is back, and what changed.
    }
  } while (refreshing === "again");
  refreshing = null;
}

function renew(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const mapped = document.querySelector('.heat-toggle[aria-pressed="true"]') !== null;
  const open = new Set([...document.querySelectorAll("details[open]")].map((one) => one.id));
  const shut = new Set([...document.querySelectorAll("details:not([open])")].map((one) => one.id));
  for (const old of document.querySelectorAll("[data-part]")) {
    const fresh = page.querySelector(`[data-part="${old.dataset.part}"]`);
    // What somebody may be typing in stays, as long as it is still to be filled in.
    if (!fresh || ("keep" in old.dataset && "keep" in fresh.dataset)) continue;
    for (const one of fresh.querySelectorAll("details"))
      if (open.has(one.id) || shut.has(one.id)) one.open = open.has(one.id);
    const taken = document.importNode(fresh, true);
    if (!taken.isEqualNode(old)) old.replaceWith(taken);
  }
  if (mapped) heat(true);
}

function heat(on) {
  for (const toggle of document.querySelectorAll(".heat-toggle")) {
    toggle.setAttribute("aria-pressed", String(on));
    toggle.closest("figure").querySelector(".heat").hidden = !on;
  }
}

document.addEventListener("click", (event) => {
  const toggle = event.target.closest(".heat-toggle");
  if (toggle) heat(document.querySelector('.heat-toggle[aria-pressed="true"]') === null);
  if (event.target.id === "add-finding") {
    const all = document.querySelectorAll(".finding");
    const copy = all[0].cloneNode(true);
    for (const input of copy.querySelectorAll("input:not([type=hidden])")) input.value = "";
    all[all.length - 1].after(copy);
    copy.querySelector("select").focus();
  }
  if (event.target.matches(".finding .remove")) {
    event.target.closest(".finding").remove();
    document.getElementById("add-finding").focus();
  }
});

document.addEventListener(
  "error",
  (event) => {
    const image = event.target;
    if (!(image instanceof HTMLImageElement)) return;
    if (image.classList.contains("heat")) image.closest("figure").querySelector(".heat-toggle").remove();
    if (!image.dataset.broken) return image.remove();
    const text = document.createElement("p");
    text.className = "broken";
    text.textContent = image.dataset.broken;
    image.replaceWith(text);
  },
  true,
);

// --- forms: sent in the background, so that what was typed is not lost ----------------------------

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  if (form.dataset.busy) return;
  form.dataset.busy = "1";
  const button = form.querySelector("button:not([type=button])");
  button.disabled = true;
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body });
    const html = await answer.text();
    if (answer.ok) {
      tell("");
      renew(html);
      form.reset();
    } else {
      tell(parsed(html, "#problem")?.textContent || document.body.dataset.failed);
      refresh();
    }
  } catch {
    tell(document.body.dataset.failed);
  } finally {
    delete form.dataset.busy;
    button.disabled = false;
  }
});

// --- keys -----------------------------------------------------------------------------------------

const keys = document.getElementById("keys");
document.getElementById("keys-open")?.addEventListener("click", () => keys.showModal());
document.getElementById("keys-close")?.addEventListener("click", () => keys.close());

function result(value) {
  const radio = document.querySelector(`#decision [value="${value}"]`);
  radio?.click();
  radio?.focus();
}

const acts = {
  "?": () => keys.showModal(),
  u: () => document.getElementById("back")?.click(),
  h: () => document.querySelector(".heat-toggle")?.click(),
  a: () => document.getElementById("assign")?.click(),
  c: () => result("conforming"),
  i: () => result("irregular"),
  n: () => document.getElementById("note")?.focus(),
  "/": () => document.getElementById("filter-lane")?.focus(),
  j: () => move(1),
  k: () => move(-1),
};

function move(step) {
  if (!rows) return;
  const all = [...rows.children];
  const at = all.findIndex((row) => row.classList.contains("chosen"));
  choose(all[at < 0 ? 0 : at + step]);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  const typing = event.target.matches("input:not([type=radio]), textarea, select");
  if (event.key === "Escape" && typing) return event.target.blur();
  if (typing || !Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
});

connect();
