// Two locked layers held against each other: how far apart, in what direction, and from which step on.

import { ask } from "../core/ask.js";
import { el, svg } from "../core/dom.js";
import { niceTicks, short, significant } from "../core/format.js";
import { term, withTerms } from "../core/tips.js";

const ALIGNS = [
  ["auto", "Auto"],
  ["step", "By step"],
  ["dtw", "DTW"],
  ["procrustes", "Procrustes"],
];
const HEIGHT = 170;
const MARGIN = { top: 12, right: 12, bottom: 32, left: 48 };

/** Create the comparison in `root`, which hides itself where there are not two locked layers. */
export function createCompare(root, { server }) {
  const select = (label) => el("select", { class: "da-select", "aria-label": label, onchange: () => started && run() });
  const first = select("First layer");
  const second = select("Second layer");
  const align = select("Alignment");
  align.append(...ALIGNS.map(([value, text]) => el("option", { value }, text)));
  const go = el("button", { type: "button", class: "da-button da-compare-go", onclick: () => run() }, "Compare");
  const result = el("div", { class: "da-compare-result", "aria-live": "polite" });
  const field = (label, control) => el("label", { class: "da-field" }, el("span", {}, label), control);
  root.append(
    el("div", { class: "da-compare-form" }, field("Hold", first), field("against", second), field("aligned", align), go),
    el(
      "p",
      { class: "da-caption" },
      ...withTerms("{distance|Distance} and {angle|angle} between the latents of two locked layers, and the step at which they {parting|part}. Where the numbers of steps differ, {dtw|dynamic time warping} or {procrustes|Procrustes} aligns them; Auto chooses."),
    ),
    result,
  );
  let locked = [];
  let offered = "";
  let started = false;
  let ticket = 0;
  let shown = null;

  async function run() {
    started = true;
    const asked = ++ticket;
    const question = { a: first.value, b: second.value, align: align.value };
    go.disabled = true;
    go.textContent = "Comparing…";
    let answer = null;
    let message = null;
    try {
      answer = await ask(server, "compare", question);
    } catch (error) {
      message = error.message;
    }
    if (asked !== ticket) return;
    go.disabled = false;
    go.textContent = "Compare";
    shown = answer;
    if (answer) draw();
    else result.replaceChildren(el("p", { class: "da-problem" }, message));
  }

  function draw() {
    const a = locked.find((row) => row.id === shown.a)?.name ?? "";
    const scalars = [
      ["disparity", "procrustes", shown.disparity],
      ["total", "dtw", shown.total],
    ].filter(([, , value]) => value !== null && value !== undefined);
    result.replaceChildren(
      el("p", { class: "da-compare-summary" }, shown.summary),
      el(
        "div",
        { class: "da-compare-plots" },
        plot({ title: term("distance", "Distance"), name: "Distance", unit: "", values: shown.distance, of: shown, a }),
        shown.angle ? plot({ title: term("angle", "Angle"), name: "Angle", unit: "°", values: shown.angle, of: shown, a }) : null,
      ),
      scalars.length
        ? el("dl", { class: "da-numbers da-compare-numbers" }, ...scalars.flatMap(([name, key, value]) => [el("dt", {}, term(key, name)), el("dd", {}, significant(value))]))
        : "",
    );
  }

  function update(state) {
    locked = state.rows.filter((row) => row.locked);
    root.closest(".da-section").hidden = locked.length < 2;
    const names = new Map(locked.map((row) => [row.id, row.name]));
    const next = JSON.stringify([...names]);
    if (next === offered) return;
    offered = next;
    const chosen = [first.value, second.value];
    const kept = chosen[0] !== chosen[1] && chosen.every((id) => locked.some((row) => row.id === id));
    const pair = kept ? chosen : locked.slice(-2).map((row) => row.id);
    [first, second].forEach((box, at) => {
      box.replaceChildren(...locked.map((row) => el("option", { value: row.id }, names.get(row.id))));
      if (pair[at]) box.value = pair[at];
    });
    if (shown && ![shown.a, shown.b].every((id) => locked.some((row) => row.id === id))) {
      shown = null;
      started = false;
      result.replaceChildren();
    }
  }

  let width = 0;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    if (shown) draw();
  }).observe(root);
  return { update };

  function plot({ title, name, unit, values, of, a }) {
    const width = Math.max(260, Math.min(440, (root.clientWidth - 28) / (root.clientWidth > 620 ? 2 : 1)));
    const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
    const known = values.filter((value) => value !== null);
    const most = Math.max(0, ...known);
    const ticks = niceTicks(0, most > 1e-9 ? most : 1, 3);
    const [low, high] = [ticks[0], ticks.at(-1)];
    const last = Math.max(1, ...of.x);
    const x = (step) => MARGIN.left + (inner.w * step) / last;
    const y = (value) => MARGIN.top + inner.h * (1 - (value - low) / (high - low));
    const readout = el("span", { class: "da-readout" });
    const dot = svg("circle", { class: "da-dot", r: 3, visibility: "hidden" });
    const parts = ticks.flatMap((tick) => [
      svg("line", { class: "da-grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "da-tick", x: MARGIN.left - 6, y: y(tick) + 3.5, "text-anchor": "end" }, short(tick)),
    ]);
    for (const step of [...new Set([0, Math.round(last / 2), last])]) {
      const anchor = step === 0 ? "start" : step === last ? "end" : "middle";
      parts.push(svg("text", { class: "da-tick", x: x(step), y: HEIGHT - MARGIN.bottom + 14, "text-anchor": anchor }, step === 0 ? "noise" : String(step)));
    }
    parts.push(svg("text", { class: "da-axis", x: MARGIN.left + inner.w / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "step"));
    let pen = "M";
    let d = "";
    values.forEach((value, at) => {
      if (value !== null) d += `${pen}${x(of.x[at]).toFixed(2)},${y(value).toFixed(2)}`;
      pen = value === null ? "M" : "L";
    });
    parts.push(svg("path", { class: "da-compare-curve", d }), dot);
    if (of.parting !== null) {
      const right = x(of.parting) > width - 90;
      parts.push(
        svg("line", { class: "da-rule da-parting", x1: x(of.parting), x2: x(of.parting), y1: MARGIN.top, y2: MARGIN.top + inner.h }),
        svg("text", { class: "da-axis", x: x(of.parting) + (right ? -5 : 5), y: MARGIN.top + 9, "text-anchor": right ? "end" : "start" }, of.parting === 0 ? "apart" : `part at ${of.parting}`),
      );
    }
    const where = (step) => (step === 0 ? "noise" : `step ${short(step, 3)}`);
    const frame = svg(
      "svg",
      {
        width,
        height: HEIGHT,
        viewBox: `0 0 ${width} ${HEIGHT}`,
        role: "img",
        "aria-label": `${name} by step of ${a}, from ${significant(known[0])} to ${significant(known.at(-1))} ${unit}`,
        onpointermove: (event) => {
          const box = frame.getBoundingClientRect();
          const step = ((event.clientX - box.left) * (width / box.width) - MARGIN.left) / (inner.w / last);
          const at = of.x.reduce((best, value, index) => (Math.abs(value - step) < Math.abs(of.x[best] - step) ? index : best), 0);
          readout.textContent = `${where(of.x[at])}: ${significant(values[at])}${unit}`;
          if (values[at] === null) return;
          dot.setAttribute("cx", x(of.x[at]));
          dot.setAttribute("cy", y(values[at]));
          dot.setAttribute("visibility", "visible");
        },
        onpointerleave: () => {
          readout.textContent = "";
          dot.setAttribute("visibility", "hidden");
        },
      },
      ...parts,
    );
    return el("div", { class: "da-plot da-compare-plot" }, el("div", { class: "da-plot-title" }, title, readout), frame);
  }
}
