"use strict";
// Lines over days, drawn by uPlot from what a page declares: the date under the cursor is one for all charts.
(() => {
  const charts = new Map();
  const DAY = 86400;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--c-${name}`).trim();
  const fixed = (value, digits) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const shows = {
    ratio: (value) => fixed(value, 2),
    percent: (value) => `${fixed(100 * value, 1)} %`,
    integer: (value) => fixed(value, 0),
    number: (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 5 }),
  };
  const date = (second) => new Date(second * 1000).toISOString().slice(0, 10);
  const tick = (second, step) => {
    const text = date(second);
    if (step >= 360 * DAY) return text.slice(0, 4);
    if (step >= 28 * DAY) return text.slice(0, 7);
    return second % DAY ? "" : text.slice(5);
  };
  const axis = (more) => ({
    stroke: () => colour("muted"),
    grid: { stroke: () => colour("grid"), width: 1 },
    ticks: { stroke: () => colour("grid"), width: 1 },
    font: "12px system-ui, sans-serif",
    ...more,
  });
  const last = (values) => values.findLastIndex((value) => value !== null);
  const height = (width, panels) => Math.round((width < 600 ? 220 : 300) * (panels > 1 ? 0.75 : 1));

  function level(at) {
    return (plot) => {
      const { min, max } = plot.scales.y;
      if (at < min || at > max) return;
      const top = Math.round(plot.valToPos(at, "y", true)) + 0.5;
      plot.ctx.save();
      plot.ctx.strokeStyle = colour("muted");
      plot.ctx.beginPath();
      plot.ctx.moveTo(plot.bbox.left, top);
      plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, top);
      plot.ctx.stroke();
      plot.ctx.restore();
    };
  }

  function draw(place, declared, panel) {
    const show = shows[panel.show];
    const written = (value) => (value === null || value === undefined ? "—" : show(value));
    const days = declared.days.map((day) => day * DAY);
    const lines = panel.lines.map((line) => ({
      label: line.name,
      stroke: () => colour(line.colour),
      width: line.width,
      dash: line.dash.length ? line.dash : undefined,
      points: { show: days.length < 3 || declared.steps, size: 5 },
      paths: declared.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
      value: (plot, value, at, day) => (day === null ? written(line.values[last(line.values)]) : written(value)),
    }));
    const found = new uPlot({
      width: place.clientWidth,
      height: height(place.clientWidth, declared.panels.length),
      tzDate: (second) => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
      scales: { y: panel.log ? { distr: 3 } : {} },
      cursor: { y: false, drag: { x: true, y: false, dist: 6 }, sync: { key: "days" } },
      legend: { markers: { width: 2, stroke: (plot, at) => `var(--c-${panel.lines[at - 1]?.colour ?? "ink"})`, dash: (plot, at) => (panel.lines[at - 1]?.dash.length ? "dashed" : "solid") } },
      axes: [
        axis({ values: (plot, splits, at, space, step) => splits.map((second) => tick(second, step)) }),
        axis({ size: 64, values: (plot, splits) => splits.map((value) => (value === null ? "" : show(value))) }),
      ],
      hooks: { drawAxes: [level(declared.level)] },
      series: [{ label: "day", value: (plot, second) => (second ? date(second) : date(days.at(-1))) }, ...lines],
    }, [days, ...panel.lines.map((line) => line.values)], place);
    const canvas = found.ctx.canvas;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", place.closest(".chart").dataset.title + (panel.head && `, ${panel.head}`) + "; the numbers stand in the table below");
    return found;
  }

  function fit(place, width) {
    for (const plot of charts.get(place) ?? []) {
      const size = { width, height: height(width, charts.get(place).length) };
      if (width && plot.width !== width) plot.setSize(size);
    }
  }
  const watcher = new ResizeObserver((seen) => seen.forEach((one) => fit(one.target, Math.floor(one.contentRect.width))));

  // A table that does not fit says so; watching it tells when it begins to fit, or ceases to.
  const widths = new ResizeObserver((seen) => {
    for (const { target } of seen) {
      const room = target.closest(".scroll");
      room.classList.toggle("more", room.querySelector("table").offsetWidth > room.clientWidth + 1);
    }
  });

  function drawAll(root) {
    for (const table of root.querySelectorAll(".scroll > table")) {
      widths.observe(table);
      widths.observe(table.parentNode);
    }
    for (const place of charts.keys()) if (!place.isConnected) charts.delete(place);
    for (const place of root.querySelectorAll(".chart[data-chart]")) {
      if (charts.has(place)) continue;
      const declared = JSON.parse(place.dataset.chart);
      charts.set(place, declared.panels.map((panel) => {
        const room = document.createElement("div");
        if (panel.head) room.append(Object.assign(document.createElement("p"), { className: "head", textContent: panel.head }));
        place.append(room);
        return draw(room, declared, panel);
      }));
      watcher.observe(place);
    }
  }

  const redraw = () => { for (const plots of charts.values()) for (const plot of plots) plot.redraw(false, false); };
  function paper(printed) {
    document.documentElement.classList.toggle("paper", printed);
    for (const place of charts.keys()) fit(place, printed ? Math.min(680, place.clientWidth) : place.clientWidth);
    redraw();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", (event) => paper(event.matches));
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
  drawAll(document);
  globalThis.drawCharts = drawAll;
})();
