// Curves over the captured steps, on one axis and with one mark: what the plots of this page share.

import { el } from "../core/dom.js";
import { createPlot } from "../figures/plot.js";

/** The axis of steps of a run, for `plot.js`. */
function stepAxis(steps) {
  const low = steps[0].index + 1;
  const high = Math.max(low + 1, steps.at(-1).index + 1);
  const ticks = [...new Set([low, Math.round((low + high) / 2), high])];
  return { low, high, ticks: ticks.map((tick) => [tick, String(tick)]), label: "step" };
}

/** The steps' numbers, as they are written. */
const along = (steps) => steps.map((step) => step.index + 1);

/**
 * Create plots in `root`. `onGo(position)` is called for a step. `update(plots, steps, at)` draws {name: {metric, rows}},
 * whose rows are those of `plot.js` without their `along`, and marks the position.
 */
export function createPlots({ onGo }) {
  const node = el("div", { class: "da-plots" });
  const made = new Map(); // name -> {plot, key}
  let shown = null; // the last arguments of update
  let hovered = null;

  function update(plots, steps, at) {
    shown = { plots, steps, at };
    const names = Object.keys(plots);
    for (const name of names) if (!made.has(name)) made.set(name, create(plots[name].metric));
    for (const [name, { plot }] of made) {
      if (names.includes(name)) continue;
      plot.node.remove();
      made.delete(name);
    }
    names.forEach((name, k) => {
      const { plot } = made.get(name);
      if (node.children[k] !== plot.node) node.insertBefore(plot.node, node.children[k] ?? null);
    });
    draw();
  }

  function create(metric) {
    const on = {
      hover: (_, x) => mark((hovered = nearest(x))),
      leave: () => mark((hovered = null)),
      click: (_, x) => onGo(nearest(x)),
    };
    return { plot: createPlot({ unit: "", absent: "Not captured in this run.", about: "", ...metric }, on), key: "" };
  }

  function draw() {
    if (!shown?.steps.length || !node.clientWidth) return;
    const axis = stepAxis(shown.steps);
    const xs = along(shown.steps);
    for (const [name, entry] of made) {
      const { rows } = shown.plots[name];
      const key = JSON.stringify([rows, xs, node.clientWidth]);
      if (key === entry.key) continue;
      if (entry.plot.draw(rows.map((row) => ({ along: xs, colour: null, loose: false, running: false, ...row })), axis)) entry.key = key;
    }
    mark(hovered);
  }

  function mark(position) {
    const at = position ?? shown.at;
    for (const [name, { plot }] of made) {
      const { rows } = shown.plots[name];
      const read = rows.map((_, k) => k).slice(0, 4);
      plot.mark({ picked: rows.map(() => at), rule: shown.steps[at].index + 1, near: null, read, several: rows.length > 1 });
    }
  }

  function nearest(x) {
    let best = 0;
    shown.steps.forEach((step, k) => {
      if (Math.abs(step.index + 1 - x) < Math.abs(shown.steps[best].index + 1 - x)) best = k;
    });
    return best;
  }

  new ResizeObserver(draw).observe(node);
  return { node, update };
}
