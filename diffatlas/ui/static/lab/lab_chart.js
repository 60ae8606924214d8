// A chart on a canvas: lines, on a vertical axis that may be logarithmic.

import { niceTicks, short } from "../core/format.js";
import { createCanvas } from "./lab_canvas.js";

const MARGIN = { top: 12, right: 14, bottom: 36, left: 54 };

/**
 * Create a chart {label, height}. `update(plot)` draws
 * {x: {label, low, high, ticks}, y: {label, log, low, high}, lines, empty}; lines are {name, points: [[x, y]], colour,
 * dashed, marks}.
 */
export function createChart({ label, height = 230 }) {
  const surface = createCanvas({ label, height });
  let last = null;

  function update(plot) {
    last = plot;
    surface.draw((context, width, high, inks) => paint(context, width, high, inks, last));
  }

  return { node: surface.node, canvas: surface.canvas, update };
}

function paint(context, width, height, inks, plot) {
  context.font = `12px ${inks.mono}`;
  const values = plot.lines.flatMap(({ points }) => points.map(([, y]) => y)).filter(Number.isFinite);
  const along = plot.lines.flatMap(({ points }) => points.map(([x]) => x));
  if (!values.length || !along.length) {
    context.fillStyle = inks.muted;
    context.font = "14px sans-serif";
    wrapped(context, plot.empty ?? "Nothing measured yet.", 12, height / 2 - 10, width - 24);
    return;
  }
  const x = scale(plot.x, along, MARGIN.left, width - MARGIN.right);
  const y = scale(plot.y, values, height - MARGIN.bottom, MARGIN.top);
  context.lineWidth = 1;
  context.strokeStyle = inks.rule;
  context.fillStyle = inks.muted;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of y.ticks) {
    line(context, [[MARGIN.left, y.at(tick)], [width - MARGIN.right, y.at(tick)]]);
    context.fillText(tickText(tick), MARGIN.left - 7, y.at(tick));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of x.ticks) context.fillText(tickText(tick), x.at(tick), height - MARGIN.bottom + 5);
  context.fillText(plot.x.label, (MARGIN.left + width - MARGIN.right) / 2, height - 14);
  context.textAlign = "left";
  for (const { points, colour, dashed, marks } of plot.lines) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 1.7;
    context.setLineDash(dashed ? [5, 4] : []);
    const seen = points.filter(([, value]) => Number.isFinite(value) && (!plot.y.log || value > 0));
    line(context, seen.map(([a, b]) => [x.at(a), y.at(b)]));
    context.setLineDash([]);
    if (marks) for (const [a, b] of seen) dot(context, x.at(a), y.at(b));
  }
}

function scale(axis, values, from, to) {
  let low = axis.low ?? Math.min(...values.filter((value) => !axis.log || value > 0));
  let high = axis.high ?? Math.max(...values);
  if (axis.log) {
    if (!Number.isFinite(low)) low = high = 1;
    if (high / low < 1.5) [low, high] = [low / 1.5, high * 1.5];
    const ticks = axis.ticks ?? decades(low, high);
    const at = (value) => from + ((to - from) * Math.log(Math.max(value, low * 1e-3) / low)) / Math.log(high / low);
    return { at: (value) => Math.min(Math.max(at(value), Math.min(from, to) - 4), Math.max(from, to) + 4), ticks: ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001), low };
  }
  if (high - low < 1e-9 * Math.max(1, Math.abs(high))) [low, high] = [low - 0.5, high + 0.5];
  const ticks = axis.ticks ?? niceTicks(low, high, 4);
  if (!axis.ticks) [low, high] = [axis.low ?? Math.min(low, ticks[0]), axis.high ?? Math.max(high, ticks.at(-1))];
  return { at: (value) => from + ((to - from) * (value - low)) / (high - low), ticks: ticks.filter((tick) => tick >= low - 1e-9 && tick <= high + 1e-9), low };
}

function decades(low, high) {
  const out = [];
  const leads = high / low > 300 ? [1] : high / low > 20 ? [1, 3] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const lead of leads) out.push(lead * 10 ** power);
  return out;
}

function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function tickText(value) {
  const size = Math.abs(value);
  return size && size < 0.001 ? value.toExponential(0).replaceAll("-", "−") : short(value, 4);
}

function dot(context, x, y) {
  context.beginPath();
  context.arc(x, y, 3, 0, 7);
  context.fill();
}

function wrapped(context, text, left, top, width) {
  let row = "";
  for (const word of text.split(" ")) {
    if (context.measureText(`${row} ${word}`).width > width && row) {
      context.fillText(row, left, top);
      [row, top] = [word, top + 19];
    } else row = row ? `${row} ${word}` : word;
  }
  context.fillText(row, left, top);
}
