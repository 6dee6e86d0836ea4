// Live rows, filters and sorting. Everything that comes from a run is put in as text, never as markup.
"use strict";

const runs = new Map();
let skew = 0; // the server's clock less ours, in milliseconds

function seconds(run) {
  return run.state === "RUNNING" ? Math.max(0, (Date.now() + skew - Date.parse(run.started)) / 1000) : run.elapsed;
}

const RESULTS = ["cagr", "sharpe", "max_drawdown"];

function result(value, percent) {
  if (value === null) return "—";
  const digits = percent ? 1 : 2;
  const shown = (percent ? 100 * value : value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return percent ? shown + " %" : shown;
}

function told(text) {
  document.getElementById("told").textContent = text;
}

function badge(run) {
  const parts = document.createDocumentFragment();
  const state = document.createElement("span");
  state.className = "state state-" + run.state.toLowerCase().replaceAll(" ", "-");
  state.textContent = run.state;
  parts.append(state);
  if (run.code) {
    const code = document.createElement("span");
    code.className = "code";
    code.textContent = run.code;
    parts.append(" ", code);
  }
  if (run.state === "VALID") parts.append(run.ruin ? ", " + run.ruin : "", run.weakened);
  return parts;
}

// A long name may break after its underscores and dashes.
function soft(name) {
  const parts = document.createDocumentFragment();
  name.split(/(?<=[_-])/).forEach((part, i) => parts.append(...(i ? [document.createElement("wbr"), part] : [part])));
  return parts;
}

// --- connection ---------------------------------------------------------------------------------------------------

let source = null;

function connect(mark, update) {
  const link = document.getElementById("connection");
  const show = (word, live) => {
    link.hidden = false;
    link.textContent = word;
    link.classList.toggle("live", live);
  };
  source = new EventSource("/events?since=" + encodeURIComponent(mark()));
  source.onopen = () => show("live", true);
  source.onerror = () => show("reconnecting", false);
  source.addEventListener("runs", (event) => {
    const found = JSON.parse(event.data);
    skew = Date.parse(found.now) - Date.now();
    update(found);
  });
}

function follow(mark, update) {
  connect(mark, update);
  // A browser opens only a few connections to a server: a hidden page gives its own back.
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (!document.hidden) connect(mark, update);
  });
  addEventListener("pagehide", () => source.close());
}

// --- the list of runs ---------------------------------------------------------------------------------------------

function listPage(table) {
  const body = table.tBodies[0];
  const form = document.getElementById("filters");
  let mark = "";
  let sort = table.dataset.sort;
  let order = table.dataset.order;

  const cell = (row, key) => row.querySelector(".c-" + key);

  function write(run) {
    let row = document.getElementById(run.run_id);
    if (!row) {
      row = body.insertRow();
      row.id = run.run_id;
      for (const key of ["run_id", "profile", "state", "cagr", "sharpe", "max_drawdown", "evidence", "book", "step", "elapsed", "as_of", "started"]) {
        row.insertCell().className = "c-" + key + (["elapsed", ...RESULTS].includes(key) ? " n" : "");
      }
      const link = document.createElement("a");
      link.href = "/runs/" + encodeURIComponent(run.run_id);
      link.append(soft(run.run_id));
      cell(row, "run_id").append(link);
    }
    cell(row, "profile").replaceChildren(soft(run.profile));
    cell(row, "state").replaceChildren(badge(run));
    for (const key of RESULTS) cell(row, key).textContent = result(run[key], key !== "sharpe");
    for (const key of ["evidence", "book"]) {
      cell(row, key).textContent = run[key] || "—";
      cell(row, key).className = `c-${key} light-${run[key]}`;
    }
    cell(row, "step").textContent = run.stage;
    cell(row, "elapsed").textContent = seconds(run).toFixed(1) + " s";
    cell(row, "as_of").textContent = run.as_of.slice(0, 10);
    cell(row, "started").textContent = run.started.slice(0, 19).replace("T", " ");
  }

  function fits(run) {
    const text = [run.run_id, run.profile, run.state, run.code, run.stage].join(" ").toLowerCase();
    return form.elements.q.value.toLowerCase().split(/\s+/).every((word) => text.includes(word))
      && ["", run.state].includes(form.elements.state.value)
      && ["", run.kind].includes(form.elements.kind.value);
  }

  function compare(a, b) {
    const keys = [a, b].map((run) => (sort === "elapsed" ? seconds(run) : run[sort] ?? -Infinity));
    const by = keys[0] < keys[1] ? -1 : keys[0] > keys[1] ? 1 : a.run_id < b.run_id ? -1 : 1;
    return order === "desc" ? -by : by;
  }

  function arrange() {
    if (!mark) return; // nothing was told yet: what the server sent stands
    const wanted = [...runs.values()].filter(fits).sort(compare);
    const rows = wanted.map((run) => document.getElementById(run.run_id));
    const shown = new Set(rows);
    for (const row of body.rows) row.hidden = !shown.has(row);
    // Only rows that are out of place are moved, so that focus and selection stay where they are.
    let place = body.rows[0];
    for (const row of rows) {
      while (place && place.hidden) place = place.nextElementSibling;
      if (row === place) place = place.nextElementSibling;
      else body.insertBefore(row, place || null);
    }
    document.getElementById("count").textContent =
      rows.length.toLocaleString("en") + " of " + runs.size.toLocaleString("en") + " shown";
    document.getElementById("nothing").hidden = runs.size > 0;
    table.hidden = runs.size === 0;
  }

  function update(found) {
    mark = found.mark;
    const gone = found.whole ? [...body.rows].map((row) => row.id) : found.gone;
    const here = new Set(found.rows.map((run) => run.run_id));
    for (const id of gone) {
      if (here.has(id)) continue;
      runs.delete(id);
      document.getElementById(id)?.remove();
    }
    for (const run of found.rows) {
      const before = runs.get(run.run_id);
      runs.set(run.run_id, run);
      write(run);
      if (before && before.state === "RUNNING" && run.state !== "RUNNING") told(run.run_id + " is " + run.state);
    }
    arrange();
    table.dataset.ready = "yes";
  }

  function remember() {
    const query = new URLSearchParams(new FormData(form));
    for (const [key, value] of [...query]) if (!value) query.delete(key);
    query.set("sort", sort);
    query.set("order", order);
    history.replaceState(null, "", "?" + query);
    form.elements.sort.value = sort;
    form.elements.order.value = order;
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { arrange(); remember(); });
  form.querySelector("button").hidden = true;
  table.tHead.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || !mark || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const key = link.dataset.key;
    order = key === sort ? (order === "asc" ? "desc" : "asc") : key === "started" ? "desc" : "asc";
    sort = key;
    for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
    link.closest("th").setAttribute("aria-sort", order === "asc" ? "ascending" : "descending");
    arrange();
    remember();
  });
  setInterval(() => {
    for (const run of runs.values()) if (run.state === "RUNNING") write(run);
  }, 500);
  follow(() => mark, update);
}

// --- one run ------------------------------------------------------------------------------------------------------

function runPage(article) {
  let run = JSON.parse(article.dataset.run);
  let mark = article.dataset.mark;
  let asked = false;
  let again = false;

  async function renew() {
    if (asked) { again = true; return; }
    asked = true;
    do {
      again = false;
      const answer = await fetch(location.pathname);
      if (!answer.ok) break;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("run");
      const typing = article.contains(document.activeElement) && document.activeElement.matches("input");
      if (!fresh) break;
      if (typing) {
        for (const part of [".lead", ".facts", ".steps"]) {
          article.querySelector(part)?.replaceWith(fresh.querySelector(part));
        }
      } else {
        article.replaceChildren(...fresh.childNodes);
        drawCharts(article);
      }
    } while (again);
    asked = false;
  }

  follow(() => mark, (found) => {
    mark = found.mark;
    const now = found.rows.find((row) => row.run_id === run.run_id);
    if (now) {
      if (run.state === "RUNNING" && now.state !== "RUNNING") told(now.run_id + " is " + now.state);
      run = now;
      renew().catch(() => { asked = false; });
    } else if (found.gone.includes(run.run_id)) {
      told(run.run_id + " was removed");
      article.querySelector(".lead").textContent = "This run was removed.";
    }
  });
  setInterval(() => {
    const place = article.querySelector(".elapsed");
    if (place && run.state === "RUNNING") place.textContent = seconds(run).toFixed(1) + " s";
  }, 500);
}

// --- any table with a search field --------------------------------------------------------------------------------

function filterPage(field) {
  const rows = [...document.getElementById(field.dataset.filters).tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  field.form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); });
  });
}

const table = document.getElementById("runs");
const article = document.getElementById("run");
if (table) listPage(table);
if (article && article.dataset.run) runPage(article);
document.querySelectorAll("[data-filters]").forEach(filterPage);
