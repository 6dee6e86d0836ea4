
"use strict";
(() => {
  const value = (row, at) => {
    const text = row.cells[at].textContent.trim();
    const number = Number.parseFloat(text.replace(/,/g, ""));
    return { text, number: /^[-+]?[\d.,]+(e[-+]?\d+)?( %| s)?$/.test(text) ? number : NaN };
  };
  const order = (a, b) => {
    if (!Number.isNaN(a.number) && !Number.isNaN(b.number)) return a.number - b.number;
    if (Number.isNaN(a.number) !== Number.isNaN(b.number)) return Number.isNaN(a.number) ? 1 : -1;
    return a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
  };
  const sort = (table, head, at) => {
    const way = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const totals = rows.filter((row) => row.classList.contains("total"));
    const keyed = rows.filter((row) => !totals.includes(row)).map((row) => [value(row, at), row]);
    keyed.sort((a, b) => way * order(a[0], b[0]));
    body.append(...keyed.map((pair) => pair[1]), ...totals);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head, at));
    });
  }
  const menu = document.querySelector("nav details");
  if (menu && matchMedia("(max-width: 860px)").matches) menu.open = false;
})();
