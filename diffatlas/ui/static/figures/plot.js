// One plot of the curves: a line per layer, and marks that follow the pointer without drawing the lines again.

import { el, svg } from "../core/dom.js";
import { niceTicks, short, significant } from "../core/format.js";
import { swatch } from "./labels3d.js";
import { term } from "../core/tips.js";

const HEIGHT = 148;
const MARGIN = { top: 10, right: 10, bottom: 30, left: 46 };

/**
 * Create the plot of one metric {name, label, unit, absent, about}. `on` has hover(plot, x, y), leave() and
 * click(plot, x, y), with x in the unit of the axis and y in px.
 */
export function createPlot(metric, on) {
  const readout = el("span", { class: "da-readout" });
  const frame = el("div", {
    class: "da-plot-frame",
    onpointermove: (event) => drawn && on.hover(plot, ...where(event)),
    onpointerleave: () => on.leave(),
    onclick: (event) => drawn && on.click(plot, ...where(event)),
  });
  const title = el("div", { class: "da-plot-title" }, term(metric.name, metric.label), readout);
  const back = svg("g");
  const lines = svg("g");
  const marks = svg("g");
  const chart = svg("svg", { height: HEIGHT, role: "img" }, back, lines, marks);
  const node = el("div", { class: "da-plot", "data-metric": metric.name }, title, frame);
  const plot = { node, draw, mark, nearest };
  let drawn = null; // {rows, x, y, range, inner}

  function where(event) {
    const area = frame.getBoundingClientRect();
    const share = (event.clientX - area.left - MARGIN.left) / drawn.inner.w;
    const { low, high } = drawn.range;
    return [low + Math.min(1, Math.max(0, share)) * (high - low), event.clientY - area.top];
  }

  /**
   * Draw `rows`, one a layer: {values, along: x of each value, colour or null, loose, running, peaks: indices of values
   * that stand out}, over the x axis {low, high, ticks: [[x, text]], label}. Returns false where the plot has no room
   * yet.
   */
  function draw(rows, range) {
    const width = frame.clientWidth;
    if (!width) return false;
    let low = Infinity;
    let high = -Infinity;
    for (const { values } of rows) {
      for (const value of values) {
        if (value === null) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) {
      drawn = null;
      const begun = rows.some((row) => row.values.length);
      frame.replaceChildren(el("p", { class: "da-absent" }, begun ? absence(metric, rows) : metric.about));
      readout.replaceChildren();
      return true;
    }
    if (high - low < 1e-9 * Math.max(1, Math.abs(high))) {
      const pad = Math.abs(high) * 0.1 || 1;
      [low, high] = [low - pad, high + pad];
    }
    const ticks = niceTicks(low, high, 3);
    [low, high] = [ticks[0], ticks.at(-1)];
    const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
    const x = (value) => MARGIN.left + (inner.w * (value - range.low)) / (range.high - range.low);
    const y = (value) => MARGIN.top + inner.h * (1 - (value - low) / (high - low));
    drawn = { rows, x, y, range, inner };

    back.replaceChildren(
      ...ticks.flatMap((tick) => [
        svg("line", { class: "da-grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
        svg("text", { class: "da-tick", x: MARGIN.left - 6, y: y(tick) + 3.5, "text-anchor": "end" }, short(tick)),
      ]),
      ...range.ticks.map(([at, text], k) => {
        const anchor = k === 0 ? "start" : k === range.ticks.length - 1 ? "end" : "middle";
        return svg("text", { class: "da-tick", x: x(at), y: HEIGHT - MARGIN.bottom + 13, "text-anchor": anchor }, text);
      }),
      svg("text", { class: "da-axis", x: MARGIN.left + inner.w / 2, y: HEIGHT - 3, "text-anchor": "middle" }, range.label),
      ...rows.flatMap(({ peaks = [], values, along, colour }) =>
        peaks.map((k) => coloured(svg("circle", { class: "da-peak", cx: x(along[k]), cy: y(values[k]), r: 5 }), colour)),
      ),
    );
    lines.replaceChildren(...rows.map((row) => curve(row, x, y)));
    chart.setAttribute("width", width);
    chart.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    chart.setAttribute("aria-label", spoken(metric, rows));
    if (frame.firstChild !== chart) frame.replaceChildren(chart);
    return true;
  }

  /**
   * Mark x: a rule and a dot on each line, and the values beside the title. `picked` is {row number: index},
   * `rule` the x of the rule or null, `near` the number of the row to be stressed or null, `read` the numbers of
   * the rows to be read out.
   */
  function mark({ picked, rule, near, read, several }) {
    if (!drawn) return;
    const { rows, x, y, inner } = drawn;
    const parts = [];
    if (rule !== null) {
      parts.push(svg("line", { class: "da-rule", x1: x(rule), x2: x(rule), y1: MARGIN.top, y2: MARGIN.top + inner.h }));
      for (const k of read) {
        const at = picked[k];
        const value = rows[k].values[at] ?? null;
        if (value === null) continue;
        parts.push(coloured(svg("circle", { class: "da-dot", cx: x(rows[k].along[at]), cy: y(value), r: 3 }), rows[k].colour));
      }
    }
    marks.replaceChildren(...parts);
    for (const [k, line] of [...lines.children].entries()) line.classList.toggle("da-near", k === near);
    readout.replaceChildren(...read.filter((k) => rows[k].values.length).map((k) => reading(rows[k], picked[k], several)));
  }

  function reading(row, at, several) {
    const value = row.values[at] ?? null;
    const text = value === null ? "–" : withUnit(significant(value), metric.unit);
    if (!several) return el("span", {}, `${at + 1}: ${text}`);
    return el("span", { title: value === null ? absence(metric, [row]) : null }, swatch(row.colour, row.loose), text);
  }

  /** The number of the row whose line is nearest to (`value` on the x axis, `height` px), or null. */
  function nearest(picked, height) {
    if (!drawn) return null;
    let best = null;
    let least = Infinity;
    drawn.rows.forEach((row, k) => {
      const value = row.values[picked[k]] ?? null;
      if (value === null) return;
      const away = Math.abs(drawn.y(value) - height);
      if (away < least) [best, least] = [k, away];
    });
    return best;
  }

  return plot;
}

function withUnit(text, unit) {
  return unit && unit !== "°" ? `${text} ${unit}` : `${text}${unit}`;
}

// Why nothing is there: a run in progress cannot know its end yet.
function absence(metric, rows) {
  const atTheEnd = metric.name.endsWith("_to_end");
  if (atTheEnd && rows.some((row) => row.running)) return "Known once the run has ended.";
  return metric.absent;
}

function curve({ values, along, colour, loose }, x, y) {
  let pen = "M";
  let d = "";
  let known = 0;
  values.forEach((value, k) => {
    if (value === null) {
      pen = "M";
      return;
    }
    known += 1;
    d += `${pen}${x(along[k]).toFixed(1)},${y(value).toFixed(1)}`;
    pen = "L";
  });
  if (known === 1) d += "h0.01"; // a single value is a dot
  return coloured(svg("path", { class: `da-curve${loose ? " da-curve-loose" : ""}`, d }), colour);
}

function coloured(node, colour) {
  if (colour) node.style.color = colour;
  return node;
}

function spoken({ label, unit }, rows) {
  if (rows.length > 1) return `${label} by step, ${rows.length} layers`;
  const known = rows[0].values.filter((value) => value !== null);
  return `${label} by step, from ${significant(known[0])} to ${withUnit(significant(known.at(-1)), unit)}`;
}
