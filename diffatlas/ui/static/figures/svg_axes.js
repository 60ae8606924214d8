// The axes of a figure's JSON: which part is in sight, its ticks, and what turns values into pixels.

import { niceTicks, short } from "../core/format.js";
import { isNone, plain } from "./figure_words.js";

const LETTER = 6.8; // px of a letter of a tick, about
const TICKS = { x: 90, y: 34 }; // px between two ticks, about

/** The charts of a layout: [{number, x, y, traces}], each with its two axes and what is drawn on them. */
export function chartsOf(layout, traces) {
  const style = layout.template?.layout ?? {};
  const numbers = Object.keys(layout).filter((name) => /^xaxis\d*$/.test(name)).map((name) => name.slice(5));
  return (numbers.length ? numbers : [""]).map((number) => {
    const own = traces.filter(({ xaxis = "x" }) => xaxis.slice(1) === number);
    const [x, y] = ["x", "y"].map((letter) => axisOf(letter, styled(style[`${letter}axis`], layout[`${letter}axis${number}`]), own));
    return { number, x, y, traces: own };
  });
}

/** The size of a drawing and the room of its charts, which leaves as much beside them as the ticks need, in px. */
export function roomOf({ width, height, template, ...layout }, charts) {
  const margin = { ...template?.layout?.margin, ...layout.margin };
  const letters = Math.max(0, ...charts.flatMap(({ y }) => (y.look.showticklabels === false ? [] : y.ticks(300).map(({ text }) => text.length))));
  const left = Math.max(margin.l, LETTER * letters + 14 + (charts.some(({ y }) => y.look.title?.text) ? 20 : 0));
  const right = Math.max(margin.r, charts.some((chart) => chart.traces.some(({ colorbar }) => colorbar)) ? 70 : 0);
  return { width, height, left, top: margin.t, across: Math.max(1, width - left - right), down: height - margin.t - margin.b };
}

/** Give the axes of a chart the room they are drawn in. */
export function lay({ x, y }, room) {
  const [west, east] = x.look.domain ?? [0, 1];
  const [south, north] = y.look.domain ?? [0, 1];
  x.lay(room.left + west * room.across, room.left + east * room.across);
  y.lay(room.top + (1 - south) * room.down, room.top + (1 - north) * room.down);
}

function styled(style = {}, own = {}) {
  const font = (one) => ({ ...style.title?.font, ...one?.title?.font });
  return { ...style, ...own, title: { ...style.title, ...own.title, font: font(own) }, tickfont: { ...style.tickfont, ...own.tickfont } };
}

function axisOf(letter, look, traces) {
  const log = look.type === "log";
  const scale = (value) => (log ? Math.log10(value) : value);
  const [low, high] = look.range ?? rangeOf(letter, look, traces, scale);
  const axis = { look, log, known: traces.length > 0, begin: 0, end: 1 };
  axis.lay = (begin, end) => Object.assign(axis, { begin, end });
  axis.to = (value) => axis.begin + ((axis.end - axis.begin) * (scale(value) - low)) / (high - low);
  axis.back = (pixel) => {
    const value = low + ((pixel - axis.begin) / (axis.end - axis.begin)) * (high - low);
    return log ? 10 ** value : value;
  };
  axis.ticks = (length) => ticksOf(look, log, [low, high], Math.max(2, Math.floor(length / TICKS[letter])));
  return axis;
}

// As much as is drawn, and a little more; the whole of bars and squares.
function rangeOf(letter, { rangemode }, traces, scale) {
  const values = traces.flatMap((trace) => {
    const own = (trace[letter] ?? []).filter((value) => !isNone(value)).map(scale).filter(Number.isFinite);
    if (trace.type === "heatmap" || (trace.type === "bar" && letter === "x")) return own.flatMap((value) => [value - 0.5, value + 0.5]);
    return trace.type === "bar" ? [...own, 0] : own;
  });
  if (rangemode === "tozero") values.push(0);
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (high - low < 1e-9 * Math.max(1, Math.abs(high))) return [low - (Math.abs(high) * 0.1 || 1), high + (Math.abs(high) * 0.1 || 1)];
  if (letter === "x" || traces.some(({ type }) => type === "heatmap")) return [low, high];
  const pad = 0.055 * (high - low);
  const isBased = rangemode === "tozero" || traces.some(({ type }) => type === "bar");
  return [low === 0 && isBased ? 0 : low - pad, high + pad];
}

// Ticks within the range: {at, text}.
function ticksOf({ tickvals, ticktext, ticksuffix = "" }, log, [low, high], count) {
  const ends = [Math.min(low, high), Math.max(low, high)];
  const nice = () => (log ? Array.from({ length: Math.floor(ends[1]) - Math.ceil(ends[0]) + 1 }, (_, k) => 10 ** (Math.ceil(ends[0]) + k)) : niceTicks(...ends, count));
  const room = 1e-6 * (ends[1] - ends[0]);
  return (tickvals ?? nice())
    .map((at, k) => ({ at, text: plain(String(ticktext?.[k] ?? short(at))) + ticksuffix }))
    .filter(({ at }) => (log ? Math.log10(at) : at) >= ends[0] - room && (log ? Math.log10(at) : at) <= ends[1] + room);
}
