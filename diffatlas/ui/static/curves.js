// The curves: small multiples, a line for each visible layer, with one mark and one readout for all.

import { el } from "./dom.js";
import { swatch } from "./labels3d.js";
import { createPlot } from "./plot.js";
import { BUSY, series } from "./state.js";

const METRICS = [
  { name: "distance_to_end", label: "Distance to end" },
  { name: "step_length", label: "Step length" },
  { name: "guidance_norm", label: "Guidance norm" },
  { name: "guidance_angle", label: "Guidance angle", unit: "°" },
  { name: "norm", label: "Norm" },
  { name: "std", label: "Standard deviation" },
  { name: "cosine_to_start", label: "Cosine to start" },
  { name: "cosine_to_end", label: "Cosine to end" },
];
const READ = 6; // with more layers than this, only the nearest is read out

/** Create the curves in `root`. `onSelect(id, index)` is called when a step of a layer is clicked. */
export function createCurves(root, { onSelect }) {
  let axis = "step";
  const at = el("span", { class: "da-curves-at" });
  const legend = el("span", { class: "da-legend" });
  const head = el("div", { class: "da-curves-head" }, axisSwitch(), at, legend);
  const grid = el("div", { class: "da-plots" });
  root.append(head, grid);

  let plots = null;
  let state = null;
  let hovered = null; // {x, near: number of a layer}
  let drawn = ""; // what the lines were drawn from
  const versions = new WeakMap(); // data -> a number, so that the same data is recognised
  let version = 0;

  function axisSwitch() {
    const choice = (value, text) => {
      const checked = value === axis ? "" : null;
      return el("label", {}, el("input", { type: "radio", name: "da-curves-axis", value, checked }), text);
    };
    const onchange = (event) => {
      axis = event.target.value;
      hovered = null;
      draw();
    };
    const choices = [choice("step", "by step"), choice("progress", "by progress")];
    return el("fieldset", { class: "da-switch", "aria-label": "Horizontal axis", onchange }, ...choices);
  }

  function update(next) {
    state = next;
    draw();
  }

  // The titles read the glossary, so the plots are made with the first state.
  function create() {
    plots = METRICS.map((own) => {
      const told = (state.metrics ?? []).find((metric) => metric.name === own.name) ?? {};
      const words = { unit: "", absent: "Not measured in this run.", about: "", ...own, ...told };
      return createPlot({ ...words, label: told.label ?? own.label }, { hover, leave: () => hover(), click });
    });
    grid.replaceChildren(...plots.map((plot) => plot.node));
  }

  function draw() {
    if (!state || !root.clientWidth) return; // hidden: drawn when it is shown
    if (!plots) create();
    const { layers } = state;
    const several = layers.length > 1;
    const facts = layers.flatMap(({ id, name, colour, locked, data }) => [id, name, colour, locked, known(data)]);
    const key = [axis, grid.clientWidth, ...facts].join();
    if (key !== drawn) {
      drawn = key;
      if (hovered && hovered.near >= layers.length) hovered = null;
      head.hidden = !layers.length;
      grid.classList.toggle("da-many", several);
      const range = axis === "step" ? bySteps(layers) : byProgress();
      for (const plot of plots) plot.draw(layers.map((layer) => row(layer, plot.node.dataset.metric, several)), range);
      explain(layers, several);
    }
    mark();
  }

  // A live run's data may grow in place.
  function known(data) {
    if (!versions.has(data)) versions.set(data, ++version);
    return `${versions.get(data)}:${data.steps.length}:${data.status}:${data.final ? 1 : 0}`;
  }

  function row(layer, name, several) {
    const { data } = layer;
    return {
      values: series(data, name).slice(0, data.steps.length),
      along: data.steps.map((_, index) => place(layer, index)),
      colour: several ? layer.colour : null,
      loose: several && !layer.locked,
      running: BUSY.includes(data.status),
    };
  }

  // Where a step lies on the x axis: its number, or how much of the run is done after it.
  function place({ data }, index) {
    return axis === "step" ? index + 1 : (100 * (index + 1)) / total(data);
  }

  function mark() {
    if (!plots || !state) return;
    const { layers, selected } = state;
    const several = layers.length > 1;
    const chosen = layers.findIndex((layer) => layer.id === selected?.id);
    let rule = null;
    let near = null;
    if (hovered) ({ x: rule, near } = hovered);
    else if (chosen >= 0) [rule, near] = [place(layers[chosen], selected.index), chosen];
    // Without a mark, every line is read at its end.
    const picked = layers.map((layer) => (rule === null ? layer.data.steps.length - 1 : indexAt(layer, rule)));
    const order = layers.map((_, k) => k);
    const read = layers.length <= READ ? order : near === null ? [] : [near];
    const to = rule !== null && near !== null ? place(layers[near], picked[near]) : rule;
    for (const plot of plots) plot.mark({ picked, rule: to, near, read, several });
    const said = axis === "step" ? `Step ${Math.round(to)}` : `${Math.round(to)}% of the run`;
    at.textContent = several && rule !== null ? said : "";
    if (layers.length > READ) explain(layers, several, near);
  }

  function explain(layers, several, near = null) {
    if (!several) return legend.replaceChildren();
    const named = layers.length <= READ ? layers : near === null ? [] : [layers[near]];
    const names = named.map(({ name, colour, locked }) =>
      el("span", { class: locked ? null : "da-loose" }, swatch(colour, !locked), name),
    );
    return legend.replaceChildren(...(names.length ? names : [`${layers.length} layers. Point at a line to read it.`]));
  }

  function hover(plot, x, y) {
    hovered = plot ? aim(plot, x, y) : null;
    mark();
  }

  function click(plot, x, y) {
    const { near } = aim(plot, x, y);
    if (near === null) return;
    const layer = state.layers[near];
    onSelect(layer.id, indexAt(layer, x));
  }

  function aim(plot, x, y) {
    return { x, near: plot.nearest(state.layers.map((layer) => indexAt(layer, x)), y) };
  }

  // The step of a layer nearest to x. Past the end of one of several runs there is none (NaN).
  function indexAt({ data }, x) {
    const last = data.steps.length - 1;
    const index = Math.max(0, Math.round(axis === "step" ? x : (x / 100) * total(data)) - 1);
    if (index <= last) return index;
    return state.layers.length > 1 ? NaN : last;
  }

  new ResizeObserver(draw).observe(root);
  return { update };
}

function total(data) {
  return Math.max(data.steps.length, data.run?.total_steps ?? 0, 1);
}

function bySteps(layers) {
  const last = Math.max(2, ...layers.map(({ data }) => total(data)));
  const ticks = [...new Set([1, Math.round((1 + last) / 2), last])];
  return { low: 1, high: last, ticks: ticks.map((tick) => [tick, String(tick)]), label: "step" };
}

function byProgress() {
  return { low: 0, high: 100, ticks: [[0, "0"], [50, "50"], [100, "100%"]], label: "share of the run" };
}
