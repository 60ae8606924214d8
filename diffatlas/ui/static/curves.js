// The metric curves: small multiples over the steps of the run, with one readout for all.

import { el, svg } from "./dom.js";
import { niceTicks, short, significant } from "./format.js";

const HEIGHT = 148;
const MARGIN = { top: 10, right: 10, bottom: 30, left: 46 };

/** Create the curves in `root`. `onSelect(index)` is called when a step is clicked. */
export function createCurves(root, { onSelect }) {
  let plots = [];
  let names = "";
  let view = null;
  let hovered = null;
  let selected = null;

  function update(next) {
    view = next;
    const metrics = view.metrics;
    const key = metrics.map((metric) => metric.name).join();
    if (key !== names) {
      names = key;
      plots = metrics.map((metric, at) => createPlot(metric, at, { hover, onSelect }));
      root.replaceChildren(...plots.map((plot) => plot.node));
      plots.forEach((plot) => resizing.observe(plot.frame));
    }
    draw();
  }

  function draw() {
    if (view) for (const plot of plots) plot.draw(view, hovered ?? selected);
  }

  function hover(index) {
    hovered = index;
    draw();
  }

  function select(index) {
    selected = index;
    draw();
  }

  const resizing = new ResizeObserver(() => draw());
  return { update, select };
}

function createPlot(metric, at, { hover, onSelect }) {
  const readout = el("span", { class: "da-readout" });
  let stepAt = null;
  const frame = el("div", {
    class: "da-plot-frame",
    onpointermove: (event) => stepAt && hover(stepAt(event)),
    onpointerleave: () => hover(null),
    onclick: (event) => stepAt && onSelect(stepAt(event)),
  });
  const node = el(
    "div",
    { class: "da-plot" },
    el("div", { class: "da-plot-title" }, el("span", { title: metric.about }, metric.label), readout),
    frame,
  );

  function draw(view, marked) {
    const width = frame.clientWidth;
    if (!width) return;
    const values = view.steps.map((step) => step.metrics[at]);
    const known = values.filter((value) => value !== null);
    if (!known.length) {
      stepAt = null;
      readout.textContent = "";
      frame.replaceChildren(el("p", { class: "da-absent" }, view.steps.length ? metric.absent : metric.about));
      return;
    }
    const last = Math.max(1, (view.run.total_steps || values.length) - 1);
    let low = Math.min(...known);
    let high = Math.max(...known);
    if (high - low < 1e-9 * Math.max(1, Math.abs(high))) {
      const pad = Math.abs(high) * 0.1 || 1;
      [low, high] = [low - pad, high + pad];
    }
    const ticks = niceTicks(low, high, 3);
    [low, high] = [ticks[0], ticks.at(-1)];
    const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
    const x = (index) => MARGIN.left + (inner.w * index) / last;
    const y = (value) => MARGIN.top + inner.h * (1 - (value - low) / (high - low));

    const parts = [];
    for (const tick of ticks) {
      parts.push(svg("line", { class: "da-grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }));
      parts.push(svg("text", { class: "da-tick", x: MARGIN.left - 6, y: y(tick) + 3.5, "text-anchor": "end" }, short(tick)));
    }
    const xTicks = [...new Set([0, Math.round(last / 2), last])];
    for (const tick of xTicks) {
      const anchor = tick === 0 ? "start" : tick === last ? "end" : "middle";
      parts.push(
        svg("text", { class: "da-tick", x: x(tick), y: HEIGHT - MARGIN.bottom + 13, "text-anchor": anchor }, String(tick + 1)),
      );
    }
    parts.push(svg("text", { class: "da-axis", x: MARGIN.left + inner.w / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "step"));
    if (values.length === 1) parts.push(svg("circle", { class: "da-dot", cx: x(0), cy: y(values[0]), r: 2 }));
    parts.push(svg("path", { class: "da-curve", d: pathOf(values, x, y) }));
    if (marked !== null && marked < values.length) {
      parts.push(svg("line", { class: "da-rule", x1: x(marked), x2: x(marked), y1: MARGIN.top, y2: MARGIN.top + inner.h }));
      if (values[marked] !== null) parts.push(svg("circle", { class: "da-dot", cx: x(marked), cy: y(values[marked]), r: 3 }));
    }
    stepAt = (event) => {
      const left = frame.getBoundingClientRect().left + MARGIN.left;
      const index = Math.round(((event.clientX - left) / inner.w) * last);
      return Math.min(values.length - 1, Math.max(0, index));
    };
    const chart = frame.firstElementChild?.tagName === "svg" ? frame.firstElementChild : null;
    const label = `${metric.label} by step, from ${significant(known[0])} to ${significant(known.at(-1))} ${metric.unit}`;
    if (chart) {
      chart.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      chart.setAttribute("width", width);
      chart.setAttribute("aria-label", label);
      chart.replaceChildren(...parts);
    } else {
      frame.replaceChildren(
        svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label }, ...parts),
      );
    }
    const shown = marked !== null && marked < values.length ? marked : values.length - 1;
    readout.textContent = `${shown + 1}: ${significant(values[shown])}${metric.unit ? ` ${metric.unit}` : ""}`;
  }

  return { node, frame, draw };
}

function pathOf(values, x, y) {
  let pen = "M";
  let d = "";
  values.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    d += `${pen}${x(index).toFixed(2)},${y(value).toFixed(2)}`;
    pen = "L";
  });
  return d;
}
