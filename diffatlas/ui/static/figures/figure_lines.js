// Pointing at the lines of a figure's charts: all charts are read at one place of the horizontal axis.

import { el, svg } from "../core/dom.js";
import { significant } from "../core/format.js";
import { swatch } from "./labels3d.js";
import { edgesOf, isNone, plain } from "./figure_words.js";

/** With more lines than this in a chart, only the nearest is read out. */
export const READ = 6;
const IN_A_LINE = 3; // values beside each other, as figure.css has them

/** The lines of text that the values of so many runs take beneath a title, for which the server leaves room. */
export const linesFor = (runs) => (runs > 1 ? Math.ceil(Math.min(runs, READ) / IN_A_LINE) : 0);

let made = 0;

/**
 * Create it. A line has in its `meta` which `line` it is, the same in all charts, and `keys`, where each of its points
 * stands for something; `main`: it is read even where only the nearest is. Bars are read as lines are, and so are the
 * `rows` of a heat map, each called as the line of the same. `meta.along` of the layout says what the horizontal axis is:
 * "step", "progress", "value", or "bin", which is read where one points alone. `named`: whether the page names the lines.
 * `onChoose(line, at, key)` and `onPoint(x, line)` are called as the figure tells.
 */
export function createLines({ onChoose, onPoint, named = false }) {
  let lines = []; // {line, measure, keys, labels, panel, x, y: where it is drawn, values, colour, dash, name, row}
  let panels = [];
  let along = "step";
  let chosen = null;
  const clips = `da-clip-${++made}`;

  /** Take a figure: its layout, its charts, and those of its traces that are not hidden. */
  function read({ meta }, charts, traces) {
    panels = charts;
    along = meta.along;
    lines = traces
      .filter(({ meta: own }) => (own?.line || own?.rows) && !own.ends)
      .flatMap(linesOf);
  }

  // The number of a line's point at a place of the axis. Steps are evenly apart, and beyond the last there is none; of
  // values the nearest is meant.
  const isValue = () => along === "value" || along === "bin";
  const atPlace = (line, x) => nearest(line.x, x, isValue());

  // What a point is called that lies on the horizontal axis: the step, or the value as the server names it.
  const called = ({ x, labels }, at) => (isValue() ? plain(labels[at][0]) : String(along === "step" ? x[at] : at));
  const keyAt = ({ line, at }) => lines.find((each) => each.line === line)?.keys?.[at] ?? null;

  /** What the pointer is at: the place on the axis, and the line that is nearest, with the number of its point. */
  function aim(panel, left, top) {
    const x = panels[panel].back(left);
    let best = { x };
    let least = Infinity;
    for (const line of lines.filter((each) => each.panel === panel)) {
      const at = atPlace(line, x);
      const away = at === null || isNone(line.y[at]) ? Infinity : Math.abs(panels[panel].y(line.y[at]) - top);
      if (away < least) [best, least] = [{ x, line: line.line, at }, away];
    }
    return best;
  }

  const press = (pointed) => pointed?.at !== undefined && onChoose(pointed.line, pointed.at, keyAt(pointed));

  // A point by its key: the line that has it, and its place.
  function found(choice) {
    if (!choice || choice.key === undefined) return choice;
    const line = lines.find(({ keys }) => keys?.includes(choice.key));
    return line ? { line: line.line, at: line.keys.indexOf(choice.key) } : null;
  }

  /**
   * What is chosen may be a place on the axis, `x`, with several `lines`. Return what lies over the charts: a rule at the place in every one, a dot on each line that is read; and write its
   * value beside the title. Without a mark every line is read at its end.
   */
  function mark(pointed) {
    const focus = pointed ?? found(chosen);
    const focused = focus?.line ?? null;
    const stressed = new Set(pointed ? [focused] : [focused, ...(chosen?.lines ?? [])]);
    const of = lines.find(({ line }) => line === focused);
    let x = pointed ? pointed.x : (chosen?.x ?? (of ? (of.x[focus.at] ?? null) : null));
    if (pointed?.at !== undefined && of) x = of.x[pointed.at];
    else if (pointed && isValue()) x = nearestOf(lines.flatMap((line) => line.x), x);
    onPoint(pointed ? x : null, pointed ? focused : null);
    const several = new Set(lines.map(({ line }) => line)).size > 1;
    const parts = [];
    panels.forEach((panel, k) => {
      if (!panel.area) return;
      const own = lines.filter((line) => line.panel === k);
      const some = own.length > READ || own.some(({ row }) => row);
      const told = some ? own.filter(({ line, main }) => main || stressed.has(line)) : own;
      const { left, right, top, bottom } = panel.area;
      const at = x === null ? null : panel.x(x);
      const inside = at !== null && at >= left - 1 && at <= right + 1;
      if (inside && own.length) parts.push(svg("line", { class: "da-rule", x1: at, x2: at, y1: top, y2: bottom }));
      if (several) for (const line of own.filter((each) => stressed.has(each.line))) parts.push(line.row ? around(panel, line) : thicker(panel, line));
      const readings = told.map((line) => {
        const index = x === null ? line.values.findLastIndex((value) => !isNone(value)) : atPlace(line, x);
        const value = index === null || index < 0 ? null : line.values[index];
        if (line.row && !isNone(index) && inside) parts.push(square(panel, line, index));
        else if (!isNone(value) && inside) {
          const height = panel.y(value);
          if (height >= top - 1 && height <= bottom + 1) parts.push(coloured(svg("circle", { class: "da-dot", cx: panel.x(line.x[index]), cy: height, r: 3 }), line.colour));
        }
        return reading(line, index, value, several, some);
      });
      if (along === "bin" && x !== null && told.length) readings.unshift(el("span", {}, called(told[0], atPlace(told[0], x))));
      panel.readout.classList.toggle("da-readout-named", some && several && !named);
      panel.readout.replaceChildren(...(along === "bin" && x === null ? [] : readings));
    });
    return parts;
  }

  // A line once more, and thicker.
  function thicker(panel, line) {
    const { left, right, top, bottom } = panel.area;
    const clip = svg("clipPath", { id: `${clips}-${panel.axes[0]}` }, svg("rect", { x: left, y: top, width: right - left, height: bottom - top }));
    let pen = "M";
    let d = "";
    line.y.forEach((value, k) => {
      if (isNone(value) || !Number.isFinite(panel.y(value))) return void (pen = "M");
      d += `${pen}${panel.x(line.x[k]).toFixed(1)},${panel.y(value).toFixed(1)}`;
      pen = "L";
    });
    return svg("g", {}, clip, coloured(svg("path", { class: "da-near", d, "clip-path": `url(#${clips}-${panel.axes[0]})` }), line.colour));
  }

  // Where not all are read, what is read is named.
  function reading(line, index, value, several, some) {
    const text = isNone(value) ? "–" : `${written(line, value)}${panels[line.panel].unit}`;
    if (some && several && !named) return el("span", { title: line.name }, ...(line.row ? [] : [swatch(line.colour, line.dash !== "solid")]), `${line.name} ${text}`);
    if (several) return el("span", { title: line.name }, swatch(line.colour, line.dash !== "solid"), text);
    return el("span", {}, index === null || index < 0 ? text : `${called(line, index)}: ${text}`);
  }

  // A step is a whole number, unless it is a mean.
  const written = ({ panel }, value) => (panels[panel].counts && Number.isInteger(value) ? String(value) : significant(value));

  /**
   * Left and right go from point to point, up and down from line to line; a state before the first step is none. Returns
   * what is to be said of the point that was chosen, or null where the key means nothing here.
   */
  function key({ key: pressed }) {
    const names = [...new Set(lines.map(({ line }) => line))];
    const [on, over] = [{ ArrowLeft: -1, ArrowRight: 1 }[pressed] ?? 0, { ArrowUp: -1, ArrowDown: 1 }[pressed] ?? 0];
    if (!names.length || !(on || (over && names.length > 1))) return null;
    const was = found(chosen);
    const first = (line) => (lines.find((each) => each.line === line).x[0] === 0 && !isValue() ? 1 : 0);
    const there = was?.x === undefined ? was?.at : atPlace(lines.find((each) => each.line === (was.line ?? names[0])), was.x);
    const from = was && (names.includes(was.line) || was.x !== undefined) && !isNone(there) ? { line: was.line ?? names[0], at: there } : { line: names.at(-1), at: on > 0 ? first(names.at(-1)) - 1 : countOf(names.at(-1)) };
    const line = names[(names.indexOf(from.line) + over + names.length) % names.length];
    const at = Math.min(countOf(line) - 1, Math.max(first(line), from.at + on));
    onChoose(line, at, keyAt({ line, at }));
    const own = lines.filter((each) => each.line === line);
    return `${isValue() ? "" : "Step "}${called(own[0], at)}. ${own.filter(({ row }, k) => !row || k === 0).map((each) => `${panels[each.panel].title}: ${isNone(each.values[at]) ? "unknown" : written(each, each.values[at])}`).join(", ")}.`;
  }

  const countOf = (line) => lines.find((each) => each.line === line).x.length;

  return { read, aim, press, mark, key, choose: (next) => (chosen = next) };
}

// The lines of a trace; a heat map has one for each of its rows.
function linesOf({ meta: own, x, y, z, line, marker, name = "", xaxis, customdata }) {
  const panel = Number((xaxis ?? "x").slice(1) || 1) - 1;
  if (!own.rows) return [{ ...own, x, y, values: y, colour: line?.color ?? marker.color, dash: line?.dash ?? "solid", name: plain(name), labels: customdata, panel }];
  return own.rows.map((key, k) => ({ line: key, measure: own.measure, x, y: x.map(() => y[k]), values: z[k], colour: null, name: own.words[k], row: true, panel }));
}

const boxOf = (panel, [left, right], y, kind) => svg("rect", { x: panel.x(left), width: panel.x(right) - panel.x(left), y: panel.y(y - 0.5), height: panel.y(y + 0.5) - panel.y(y - 0.5), class: kind });
const around = (panel, { x, y }) => boxOf(panel, [x[0] - 0.5, x.at(-1) + 0.5], y[0], "da-cells-chosen");
const square = (panel, { x, y }, index) => boxOf(panel, edgesOf(x, index), y[index], "da-cells-now");

function coloured(node, colour) {
  node.style.color = colour;
  return node;
}

const nearestOf = (places, x) => places[nearest(places, x, true)] ?? x;

// The number of the place nearest to `x`; unless `anywhere`, null where that lies beyond the last by more than half a
// step.
function nearest(places, x, anywhere) {
  if (!places.length) return null;
  let best = 0;
  for (let k = 1; k < places.length; k += 1) if (Math.abs(places[k] - x) <= Math.abs(places[best] - x)) best = k;
  const step = places.find((place) => place > places[0]) - places[0] || 1;
  return !anywhere && x > places[best] + 0.51 * step ? null : best;
}
