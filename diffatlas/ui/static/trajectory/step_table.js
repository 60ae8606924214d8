// Every step of a run as one row of numbers.

import { el } from "../core/dom.js";
import { short, significant } from "../core/format.js";
import { series } from "../core/state.js";
import { term } from "../core/tips.js";

// [metric, label]; the first three are the step's own: what the model was asked at, and what the step left.
const COLUMNS = [
  ["timestep", "timestep"],
  ["sigma", "sigma"],
  ["sigma_after", "sigma after"],
  ["norm", "norm"],
  ["step_length", "step length"],
  ["cosine_to_end", "cos to end"],
  ["cosine_to_start", "cos to start"],
  ["mean", "mean"],
  ["std", "std"],
  ["min", "min"],
  ["max", "max"],
];

const AT_ONCE = 150; // rows

/** The table of `data`; `onSelect(index)` for a row. `mark(index)` shows which one is selected. */
export function stepTable(data, onSelect) {
  const columns = COLUMNS.map(([name]) => {
    if (name === "timestep") return data.steps.map((step) => short(step.timestep, 5));
    if (name === "sigma") return data.steps.map((step) => significant(step.sigma_before));
    if (name === "sigma_after") return data.steps.map((step) => significant(step.sigma));
    return aligned(series(data, name));
  });
  const rows = [];
  const body = el("tbody", {});

  // A long table is built over several frames, so that the page answers meanwhile.
  function build(count) {
    const before = rows.length;
    while (rows.length < Math.min(count, data.steps.length)) rows.push(row(rows.length));
    body.append(...rows.slice(before));
    if (rows.length < data.steps.length) requestAnimationFrame(() => build(rows.length + AT_ONCE));
  }

  function row(at) {
    const { index } = data.steps[at];
    return el(
      "tr",
      { "data-step": index, onclick: () => onSelect(at) },
      el("th", { scope: "row" }, el("button", { type: "button", class: "da-row", "aria-label": `Select step ${index + 1}` }, String(index + 1))),
      ...columns.map((values) => el("td", {}, values[at])),
    );
  }

  const box = el(
    "div",
    { class: "da-table-box", tabindex: 0, role: "region", "aria-label": "Every step in numbers" },
    el(
      "table",
      { class: "da-table" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "step"), ...COLUMNS.map(([name, label]) => el("th", { scope: "col" }, term(name, label))))),
      body,
    ),
  );
  let chosen = null;
  build(AT_ONCE);

  function mark(index) {
    if (index === chosen) return;
    if (index >= rows.length) build(index + 1);
    rows[chosen]?.classList.remove("da-chosen");
    chosen = index;
    const row = rows[index];
    if (!row) return;
    row.classList.add("da-chosen");
    // Within the box alone: the page must not jump.
    const head = box.querySelector("thead").offsetHeight;
    if (row.offsetTop - head < box.scrollTop) box.scrollTop = row.offsetTop - head;
    else if (row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = row.offsetTop + row.offsetHeight - box.clientHeight;
  }

  return { node: box, mark };
}

// With as many decimals each as give the largest of them four significant digits, and at least four below one.
function aligned(values) {
  const most = Math.max(0, ...values.map((value) => Math.abs(value ?? 0)));
  if (most === 0 || most >= 1e6 || most < 1e-4) return values.map((value) => significant(value));
  const decimals = Math.min(6, Math.max(most <= 1 ? 4 : 0, 3 - Math.floor(Math.log10(most))));
  return values.map((value) => (value === null ? "–" : value.toFixed(decimals).replace("-", "−")));
}
