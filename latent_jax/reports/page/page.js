// The page comes to life: sortable tables, figures, downloads, segmentations.
"use strict";

const page = JSON.parse(document.getElementById("page-data").textContent);

/** Returns records as CSV with every key that one of them has. */
function csv(records) {
  const keys = [...new Set(records.flatMap((record) => Object.keys(record)))];
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = records.map((record) => keys.map((key) => cell(record[key])));
  return [keys, ...rows].map((row) => row.join(",") + "\r\n").join("");
}

function download(name, url) {
  const link = document.createElement("a");
  link.download = name;
  link.href = url;
  link.click();
}

function downloadText(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  download(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// --- Tables: a click on a header sorts upwards, the next one downwards, the third restores.

const STEPS = { none: "ascending", ascending: "descending", descending: "none" };

function sortTable(table, header) {
  const state = STEPS[header.getAttribute("aria-sort")];
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", state);
  const column = header.cellIndex;
  const key = (row) => {
    const value = row.cells[column].dataset.value;
    if (value === undefined) return null;
    return header.classList.contains("number") ? Number(value) : value;
  };
  const sign = state === "descending" ? -1 : 1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => {
    if (state === "none") return one.dataset.place - other.dataset.place;
    const [a, b] = [key(one), key(other)];
    if (a === null || b === null) return (a === null) - (b === null); // at the end, either way
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
    return sign * order || one.dataset.place - other.dataset.place;
  });
  table.tBodies[0].append(...rows);
}

function makeTable(table) {
  [...table.tBodies[0].rows].forEach((row, place) => (row.dataset.place = place));
  for (const header of table.tHead.rows[0].cells) {
    header.setAttribute("aria-sort", "none");
    header.querySelector("button").addEventListener("click", () => sortTable(table, header));
  }
}

// --- Figures: drawn when they come into sight, again when the page's colours or width change.

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 719px)");
// What is too dark for a dark page; the others serve on both.
const ON_DARK = { "#0072b2": "#4ea8de", "#5b5b5b": "#a3a9b3", "#009e73": "#2cc295" };
const views = {};

function look() {
  const style = getComputedStyle(document.documentElement);
  const [ink, quiet, line, background] = ["--ink", "--quiet", "--line", "--page"].map((name) =>
    style.getPropertyValue(name).trim(),
  );
  const font = style.getPropertyValue("--font").trim();
  return {
    background,
    font,
    view: { stroke: null },
    axis: {
      labelColor: quiet,
      titleColor: quiet,
      titleFontWeight: "normal",
      labelFontSize: 11,
      titleFontSize: 11,
      gridColor: line,
      domainColor: quiet,
      tickSize: 0,
      labelPadding: 6,
      titlePadding: 8,
    },
    axisY: { domain: false },
    legend: {
      labelColor: ink,
      labelFontSize: 12,
      labelLimit: 300,
      title: null,
      orient: "bottom",
      direction: "vertical",
      symbolType: "stroke",
      symbolSize: 200,
      symbolStrokeWidth: 2.5,
      rowPadding: 3,
    },
    title: { color: ink, fontSize: 12, anchor: "start" },
    text: { color: ink, fontSize: 12 },
    rule: { color: quiet },
  };
}

async function drawFigure(id) {
  const { wide, narrow: small, records } = page.figures[id];
  let spec = JSON.stringify(narrow.matches ? small : wide);
  if (dark.matches) for (const colour in ON_DARK) spec = spec.replaceAll(colour, ON_DARK[colour]);
  spec = JSON.parse(spec);
  spec.datasets = { ...spec.datasets, records };
  const box = document.getElementById(id).querySelector(".plot");
  const drawn = await vegaEmbed(
    box,
    spec,
    { mode: "vega-lite", actions: false, renderer: "svg", config: look(), tooltip: { disableDefaultStyle: true } },
  );
  box.style.minHeight = "0";
  views[id]?.finalize();
  views[id] = drawn.view;
}

function makeFigures() {
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        drawFigure(target.id);
      }
    },
    { rootMargin: "400px" },
  );
  for (const [id, { wide }] of Object.entries(page.figures)) {
    const figure = document.getElementById(id);
    figure.querySelector(".plot").style.minHeight = `${wide.height}px`; // until it is drawn
    seen.observe(figure);
  }
  const again = () => Object.keys(views).forEach(drawFigure);
  dark.addEventListener("change", again);
  narrow.addEventListener("change", again);
}

// --- Downloads: what a button names, as it is shown (PNG) or unrounded (CSV).

const DOWNLOADS = {
  async png(id) {
    if (!views[id]) await drawFigure(id);
    download(`${id}.png`, await views[id].toImageURL("png", 2));
  },
  csv: (id) => downloadText(`${id}.csv`, csv((page.figures[id] ?? page.tables[id]).records)),
};

for (const button of document.querySelectorAll("button[data-download]")) {
  const [format, id] = button.dataset.download.split(" ");
  button.addEventListener("click", () => DOWNLOADS[format](id));
}

document.querySelectorAll("table.sortable").forEach(makeTable);
makeFigures();
segments.drawSentence(page.segmentation);
page.ready = segments.makeLive(page.segmentation).then((encoders) => {
  page.encode = (name, text) => encoders[name](segments.encode(text));
});
