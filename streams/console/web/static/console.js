// The pages work without this script. It keeps them live, and adds keys and the heat-map switch.
"use strict";

const main = document.getElementById("main");
const rows = document.getElementById("rows");
const problem = document.getElementById("problem");
document.documentElement.classList.add("js");

function showProblem(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

// --- live: server-sent events, from the last change that the page has seen ------------------------

let source = null;
let seen = main?.dataset.after;
let refreshing = null;

function connect() {
  if (source || !main?.dataset.live) return;
  source = new EventSource(`${main.dataset.live}&after=${seen}`);
  source.onopen = () => showConnection(true);
  source.onerror = () => {
    showConnection(false);
    // After an answer that is not a stream the browser gives up; this page does not.
    if (source?.readyState === EventSource.CLOSED) {
      disconnect();
      setTimeout(connect, 2000);
    }
  };
  source.addEventListener("case", (event) => {
    rememberChange(event);
    const change = JSON.parse(event.data);
    if (rows) updateRow(change);
    else if (change.id === main.dataset.case) refresh();
  });
  source.addEventListener("counts", (event) => {
    rememberChange(event);
    const counts = JSON.parse(event.data);
    for (const shown of document.querySelectorAll("[data-count]"))
      shown.textContent = counts[shown.dataset.count];
    if (rows) {
      rows.dataset.total = counts.total;
      if (rows.children.length < Math.min(counts.total, rows.dataset.shown)) refillSoon();
      showTotals();
    }
  });
  source.addEventListener("cut-off", (event) => {
    document.getElementById("cut-off").hidden = !JSON.parse(event.data);
  });
}

function rememberChange(event) {
  if (event.lastEventId) seen = event.lastEventId;
}

function disconnect() {
  source?.close();
  source = null;
}

function showConnection(up) {
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

function updateRow(change) {
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
    // Cases below the last row are not shown, and this one may be below some of them.
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
  showTotals();
}

function showTotals() {
  const [shown, total] = [rows.children.length, rows.dataset.total];
  const more = document.getElementById("more");
  more.hidden = total <= shown;
  more.textContent = more.dataset.text.replace("{shown}", shown).replace("{total}", total);
  document.getElementById("empty").hidden = shown > 0;
}

let refilling = null;
let turn = 0;
let queueAddress = location.href;

function refillSoon(afterMs = 500) {
  refilling ??= setTimeout(() => refill(queueAddress), afterMs);
}

// Load the queue anew, or another one: its rows, its total, and the change to continue from.
async function refill(address) {
  clearTimeout(refilling);
  refilling = null;
  const own = ++turn;
  const other = address !== location.href;
  queueAddress = address;
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    const html = await answer.text();
    if (own !== turn) return; // another filter was chosen meanwhile
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
    showTotals();
    if (chosen) document.getElementById(chosen)?.classList.add("chosen");
    if (held) document.getElementById(held)?.querySelector("a").focus({ preventScroll: true });
    keepQueue();
    if (!document.hidden) connect();
  } catch {
    if (other) location.assign(address); // else the stream reports when the console is back
  }
}

// So that the link back from an alert leads to the same queue.
function keepQueue() {
  const query = new URLSearchParams(location.search);
  query.delete("language"); // which may have changed by then
  sessionStorage.setItem("queue", `?${query}`);
}
if (rows) keepQueue();
const back = document.getElementById("back");
if (back) back.href = `/${sessionStorage.getItem("queue") ?? ""}`;

function choose(row, held = true) {
  if (!row) return;
  rows.querySelector(".chosen")?.classList.remove("chosen");
  row.classList.add("chosen");
  if (!held) return; // the focus is elsewhere on the page
  row.querySelector("a").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

rows?.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !event.target.closest("a")) row.querySelector("a").click();
});

// Without leaving the page, so that arrow keys can step through a filter.
for (const select of document.querySelectorAll(".filter select"))
  select.addEventListener("change", () => {
    refill(`/?${new URLSearchParams(new FormData(select.form))}`);
  });

// --- one alert: parts that changed are replaced from the current page -----------------------------

async function refresh() {
  if (refreshing) return (refreshing = "again");
  do {
    refreshing = "now";
    try {
      const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
      if (answer.ok) replaceParts(await answer.text());
    } catch {
      // The stream reports when the console is back, and what changed.
    }
  } while (refreshing === "again");
  refreshing = null;
}

function replaceParts(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const mapped = document.querySelector('.heat-toggle[aria-pressed="true"]') !== null;
  const open = new Set([...document.querySelectorAll("details[open]")].map(({ id }) => id));
  const shut = new Set([...document.querySelectorAll("details:not([open])")].map(({ id }) => id));
  for (const old of document.querySelectorAll("[data-part]")) {
    const fresh = page.querySelector(`[data-part="${old.dataset.part}"]`);
    // A form that somebody may be filling in stays, as long as the page still has it.
    if (!fresh || ("keep" in old.dataset && "keep" in fresh.dataset)) continue;
    for (const details of fresh.querySelectorAll("details"))
      if (open.has(details.id) || shut.has(details.id)) details.open = open.has(details.id);
    const copy = document.importNode(fresh, true);
    if (!copy.isEqualNode(old)) old.replaceWith(copy);
  }
  if (mapped) showHeat(true);
}

function showHeat(on) {
  for (const toggle of document.querySelectorAll(".heat-toggle")) {
    toggle.setAttribute("aria-pressed", String(on));
    toggle.closest("figure").querySelector(".heat").hidden = !on;
  }
}

document.addEventListener("click", (event) => {
  const toggle = event.target.closest(".heat-toggle");
  if (toggle) showHeat(document.querySelector('.heat-toggle[aria-pressed="true"]') === null);
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

// --- forms: sent in the background, so that no input is lost --------------------------------------

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
      showProblem("");
      replaceParts(html);
      form.reset();
    } else {
      showProblem(parsed(html, "#problem")?.textContent || document.body.dataset.failed);
      refresh();
    }
  } catch {
    showProblem(document.body.dataset.failed);
  } finally {
    delete form.dataset.busy;
    button.disabled = false;
  }
});

// --- keys -----------------------------------------------------------------------------------------

const keys = document.getElementById("keys");
document.getElementById("keys-open")?.addEventListener("click", () => keys.showModal());
document.getElementById("keys-close")?.addEventListener("click", () => keys.close());

function chooseResult(value) {
  const radio = document.querySelector(`#decision [value="${value}"]`);
  radio?.click();
  radio?.focus();
}

const actions = {
  "?": () => keys.showModal(),
  u: () => document.getElementById("back")?.click(),
  h: () => document.querySelector(".heat-toggle")?.click(),
  a: () => document.getElementById("assign")?.click(),
  c: () => chooseResult("conforming"),
  i: () => chooseResult("irregular"),
  n: () => document.getElementById("note")?.focus(),
  "/": () => document.getElementById("filter-lane")?.focus(),
  j: () => moveChoice(1),
  k: () => moveChoice(-1),
};

function moveChoice(step) {
  if (!rows) return;
  const all = [...rows.children];
  const at = all.findIndex((row) => row.classList.contains("chosen"));
  choose(all[at < 0 ? 0 : at + step]);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  const typing = event.target.matches("input:not([type=radio]), textarea, select");
  if (event.key === "Escape" && typing) return event.target.blur();
  if (typing || !Object.hasOwn(actions, event.key)) return;
  event.preventDefault();
  actions[event.key]();
});

connect();
