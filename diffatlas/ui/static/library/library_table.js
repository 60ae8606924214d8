// Small tables and a small curve, for what differs between two runs and for what a run was made with.

import { el, svg } from "../core/dom.js";
import { short } from "../core/format.js";
import { valueText } from "../runs/library_text.js";

const WIDTH = 520;
const HEIGHT = 110;
const EDGE = { top: 14, right: 8, bottom: 20, left: 8 };

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

/** A curve over the steps, from zero, with its greatest value; `first` is the step where it leaves zero, or null. */
export function smallCurve(values, { label, first = null }) {
  const known = values.filter((value) => Number.isFinite(value));
  const top = Math.max(...known, 0);
  if (known.length < 2 || !(top > 0)) return null;
  const x = (at) => EDGE.left + (at / (values.length - 1)) * (WIDTH - EDGE.left - EDGE.right);
  const y = (value) => EDGE.top + (1 - value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const points = values.map((value, at) => (Number.isFinite(value) ? `${x(at).toFixed(1)},${y(value).toFixed(1)}` : null)).filter(Boolean);
  const peak = values.indexOf(top);
  const words = `${label}, at most ${short(top)}`;
  return el(
    "figure",
    { class: "da-small-curve" },
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words },
      svg("line", { x1: x(0), x2: x(values.length - 1), y1: y(0), y2: y(0), class: "da-axis-line" }),
      first === null ? null : svg("line", { x1: x(first), x2: x(first), y1: EDGE.top, y2: y(0), class: "da-parting" }),
      svg("polyline", { points: points.join(" "), class: "da-curve-line" }),
      svg("circle", { cx: x(peak), cy: y(top), r: 3, class: "da-curve-dot" }),
    ),
    el("figcaption", {}, el("span", {}, `${label}, from the first state to the last`), el("span", { class: "da-mono" }, `at most ${short(top)}`)),
  );
}
