// Small tables and a chart, for what differs between two runs and for what a run was made with.

import { el } from "../core/dom.js";
import { createSmallFigure } from "../figures/small_figure.js";
import { valueText } from "../runs/library_text.js";

/** Names and values, as a list of definitions. `rows` are [name, value]. */
export function facts(rows, className = "") {
  const parts = rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { dir: "auto" }, value instanceof Node ? value : valueText(value))]);
  return el("dl", { class: `da-facts ${className}` }, ...parts);
}

/** What differs: a row for each of `rows` ({name, a, b}), under the heads `a` and `b`. */
export function differing(rows, a, b) {
  const cell = (value, head) => el("td", { dir: "auto", "data-head": head }, valueText(value));
  return el(
    "table",
    { class: "da-differing" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "What"), el("th", { scope: "col", dir: "auto" }, a), el("th", { scope: "col", dir: "auto" }, b))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.name), cell(row.a, a), cell(row.b, b)))),
  );
}

/** What differs in what two runs ran on, as nodes: sentences, and a table; `same` where nothing does. */
export function machineTold({ rows, sentences }, a, b, same) {
  const nodes = [...sentences.map((text) => el("p", {}, text)), ...(rows.length ? [differing(rows, a, b)] : [])];
  return nodes.length ? nodes : [el("p", {}, same)];
}

/** A figure of how far two paths are apart by state, as a node; null where there is none. */
export function departure(figure) {
  if (!figure) return null;
  const root = el("div", { class: "da-departure" });
  const chart = createSmallFigure(root, { onChoose: (line, at) => chart.choose({ line, at }) });
  chart.draw(figure);
  return root;
}
