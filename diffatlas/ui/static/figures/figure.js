// One drawing for every figure that the server defines (diffatlas/figures): plotly.js draws its JSON, and what follows
// the pointer or the chosen step lies over it, so that nothing is drawn anew for that.
//
// A figure of small multiples has in its layout's `meta.panels` the term and the unit of each chart; each of its lines
// has in `meta` the `run` and the `metric`. Its titles are written as elements, so that they explain themselves.

import { el, svg } from "../core/dom.js";
import { createLegend } from "./figure_legend.js";
import { significant } from "../core/format.js";
import { swatch } from "./labels3d.js";
import { plotly } from "./plotly_script.js";
import { term } from "../core/tips.js";

const TITLE = "panel"; // the name of the annotations that are titles
const HEAD = 26; // px above the first row of charts, which a title stands in
const FOOT = { ticks: 30, titles: 50 }; // px beneath the last one, for its ticks, and the title of its axis
const WIDE = 235; // px that a chart needs, unless told otherwise
const STILL = 5; // px that a click may move by

/** With more lines than this in a chart, only the nearest is read out. */
export const READ = 6;
const IN_A_LINE = 3; // values beside each other, as space.css has them

/** The lines of text that the values of so many runs take beneath a title, for which the server leaves room. */
export const linesFor = (runs) => (runs > 1 ? Math.ceil(Math.min(runs, READ) / IN_A_LINE) : 0);

let made = 0;

/**
 * Create a figure in `root`. `onChoose(run, at)` is called where a state of a run is chosen, by a click or by an arrow
 * key, and `onPoint(x, run)` with the place on the horizontal axis and the run that the pointer is at, or null. `wide`
 * is the pixels that a chart needs at least.
 */
export function createFigure(root, { onChoose = () => {}, onPoint = () => {}, wide = WIDE } = {}) {
  const stage = el("div", { class: "da-figure-stage" });
  const marks = svg("svg", { class: "da-figure-marks", "aria-hidden": "true" });
  const heads = el("div", { class: "da-figure-heads" });
  const legend = createLegend({ onToggle: (numbers, shown) => library.restyle(stage, { visible: shown }, numbers) });
  const whole = el("button", { type: "button", class: "da-plain da-figure-whole", hidden: "", onclick: unzoom }, "Show all of it again");
  const says = el("p", { class: "da-caption" });
  const spoken = el("p", { class: "da-unseen" });
  const said = el("p", { class: "da-unseen", role: "status" });
  const node = el("div", { class: "da-figure", role: "group", onkeydown: key }, stage, marks, heads, whole, legend.node, says, spoken, said);
  root.append(node);

  let figure = null; // as the server tells it
  let library = null;
  let lines = []; // the lines of the charts: {run, metric, panel, x, y, colour, name}
  let panels = []; // {axes, head, readout, unit, title}, and once drawn their area and what turns values into pixels
  let chosen = null; // {run, at}
  let pointed = null; // {x, run}
  let pressed = null;
  let across = 0;
  let pending = false; // whether the figure waits for room
  let placing = false; // whether plotly.js tells when it has drawn
  const clips = `da-clip-${++made}`;

  stage.addEventListener("pointermove", (event) => point(aim(event)));
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("pointerdown", (event) => (pressed = event.button ? null : event));
  window.addEventListener("pointercancel", () => (pressed = null)); // a finger that scrolls
  window.addEventListener("pointerup", (event) => {
    const from = pressed;
    pressed = null;
    if (!from || Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) > STILL) return;
    const found = aim(event);
    if (found?.at !== undefined) onChoose(found.run, found.at);
  });

  /** Draw a figure, at once or as soon as there is room; it rejects with an Error to be shown. */
  async function draw(next) {
    library ??= await plotly();
    figure = next;
    pending = !root.clientWidth;
    if (pending) return;
    across = fitting();
    // plotly.js changes what it is given, as one zooms.
    const layout = onPage(structuredClone(figure.layouts[across]));
    const traces = figure.data.map((trace, number) => ({ ...trace, ...(legend.isHidden(trace, number) ? { visible: false } : {}) }));
    await library.react(stage, traces, layout, { ...figure.config, displayModeBar: false, responsive: false });
    if (!placing) for (const event of ["plotly_afterplot", "plotly_relayout"]) stage.on(event, place);
    placing = true;
    read(figure.layouts[across]);
    place();
  }

  const fitting = () => Object.keys(figure.layouts).map(Number).filter((count) => count === 1 || root.clientWidth >= count * wide).at(-1);

  // The layout without its titles and its legend, which are elements here. Where steps are followed the page names the
  // runs and reads the values; of any other figure plotly.js says what a point is.
  function onPage(layout) {
    const follows = Boolean(layout.meta.panels);
    const top = HEAD + (layout.meta.reading ?? 0);
    const foot = follows ? FOOT.ticks : FOOT.titles;
    return {
      ...layout,
      title: undefined,
      showlegend: false,
      ...(follows ? { hovermode: false } : {}),
      // A finger that moves scrolls the page.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      autosize: false,
      width: root.clientWidth,
      height: layout.height - layout.margin.t - layout.margin.b + top + foot,
      margin: { ...layout.margin, t: top, b: foot },
      annotations: layout.annotations?.filter(({ name }) => name !== TITLE),
      uirevision: [layout.meta.figure, layout.meta.along].join(), // what was zoomed stays so while values come
    };
  }

  function read({ meta, annotations = [] }) {
    node.setAttribute("aria-label", meta.title);
    node.dataset.figure = meta.figure;
    if (meta.panels) node.tabIndex = 0;
    legend.node.hidden = Boolean(meta.panels);
    if (!meta.panels) legend.update(figure.data, plain);
    says.textContent = meta.says;
    spoken.textContent = meta.spoken;
    const titles = annotations.filter(({ name }) => name === TITLE);
    panels = titles.map(({ text }, k) => {
      const readout = el("span", { class: "da-readout" });
      const { key = null, unit = "" } = meta.panels?.[k] ?? {};
      const head = el("div", { class: "da-figure-head", "data-metric": key }, key ? term(key) : el("span", {}, plain(text)), readout);
      return { axes: [`xaxis${k ? k + 1 : ""}`, `yaxis${k ? k + 1 : ""}`], head, readout, unit, title: plain(text) };
    });
    heads.replaceChildren(...panels.map(({ head }) => head));
    lines = figure.data
      .filter(({ meta: own, mode }) => own?.metric && mode === "lines")
      .map(({ meta: own, x, y, line, name, xaxis }) => ({ ...own, x, y, colour: line.color, dash: line.dash, name: plain(name), panel: Number(xaxis.slice(1) || 1) - 1 }));
  }

  // Where the charts lie now: they move as one zooms, since their ticks take more or less room.
  function place() {
    const full = stage._fullLayout;
    if (!full) return;
    const { width, height, _size: room } = full;
    for (const [name, size] of Object.entries({ width, height })) marks.setAttribute(name, size);
    heads.style.height = `${height}px`;
    whole.hidden = !isZoomed(full);
    for (const panel of panels) {
      const [[west, east], [south, north]] = panel.axes.map((name) => figure.layouts[across][name].domain ?? [0, 1]);
      const area = { left: room.l + west * room.w, right: room.l + east * room.w, top: room.t + (1 - north) * room.h, bottom: room.t + (1 - south) * room.h };
      Object.assign(panel.head.style, { left: `${area.left}px`, width: `${area.right - area.left}px`, bottom: `${height - area.top + 4}px` });
      // plotly.js knows no axes on which nothing is drawn.
      const [x, y] = panel.axes.map((name) => full[name]);
      const known = x?._length && y?._length;
      panel.area = known ? area : null;
      if (!known) continue;
      panel.x = (value) => x._offset + x.d2p(value);
      panel.y = (value) => y._offset + y.d2p(value);
      panel.back = (pixel) => x.p2d(pixel - x._offset);
    }
    mark();
  }

  const axesOf = (full) => Object.keys(full).filter((name) => /^[xy]axis\d*$/.test(name));

  // Whether another part of an axis is in sight than the figure says.
  function isZoomed(full) {
    return axesOf(full).some((name) => {
      const { range } = figure.layouts[across][name] ?? {};
      return range ? range.some((end, k) => Math.abs(end - full[name].range[k]) > 1e-6 * Math.abs(range[1] - range[0])) : full[name].autorange === false;
    });
  }

  // As a double click on a chart does.
  function unzoom() {
    const layout = figure.layouts[across];
    const back = (name) => (layout[name]?.range ? [`${name}.range`, [...layout[name].range]] : [`${name}.autorange`, true]);
    return library.relayout(stage, Object.fromEntries(axesOf(stage._fullLayout).map(back)));
  }

  // What the pointer is at: the place on the axis, and the line that is nearest, with the number of its state.
  function aim({ clientX, clientY }) {
    const box = stage.getBoundingClientRect();
    const [left, top] = [clientX - box.left, clientY - box.top];
    const panel = panels.findIndex(({ area }) => area && left >= area.left && left <= area.right && top >= area.top && top <= area.bottom);
    if (panel < 0) return null;
    const x = panels[panel].back(left);
    let best = { x };
    let least = Infinity;
    for (const line of lines.filter((each) => each.panel === panel)) {
      const at = nearest(line.x, x);
      const away = at === null || isNone(line.y[at]) ? Infinity : Math.abs(panels[panel].y(line.y[at]) - top);
      if (away < least) [best, least] = [{ x, run: line.run, at }, away];
    }
    return best;
  }

  function point(next) {
    if (!next && !pointed) return;
    pointed = next;
    mark();
  }

  /** Mark a state of a run, {run, at}, or none. */
  function choose(next) {
    chosen = next;
    mark();
  }

  // A rule at the place in every chart, a dot on each line that is read, and its value beside the title. Without a mark
  // every line is read at its end.
  function mark() {
    if (!panels.length) return;
    const focus = pointed ?? chosen;
    const run = focus?.run ?? null;
    const of = lines.find((line) => line.run === run);
    let x = pointed ? pointed.x : of ? (of.x[chosen.at] ?? null) : null;
    if (pointed?.at !== undefined && of) x = of.x[pointed.at];
    onPoint(pointed ? x : null, pointed ? run : null);
    const several = new Set(lines.map((line) => line.run)).size > 1;
    const parts = [];
    panels.forEach((panel, k) => {
      if (!panel.area) return;
      const own = lines.filter((line) => line.panel === k);
      const told = own.length > READ ? own.filter((line) => line.run === run) : own;
      const { left, right, top, bottom } = panel.area;
      const at = x === null ? null : panel.x(x);
      const inside = at !== null && at >= left - 1 && at <= right + 1;
      if (inside && own.length) parts.push(svg("line", { class: "da-rule", x1: at, x2: at, y1: top, y2: bottom }));
      if (several && run !== null) for (const line of own.filter((each) => each.run === run)) parts.push(stressed(panel, line));
      const readings = told.map((line) => {
        const index = x === null ? line.y.findLastIndex((value) => !isNone(value)) : nearest(line.x, x);
        const value = index === null || index < 0 ? null : line.y[index];
        if (!isNone(value) && inside) {
          const height = panel.y(value);
          if (height >= top - 1 && height <= bottom + 1) parts.push(coloured(svg("circle", { class: "da-dot", cx: panel.x(line.x[index]), cy: height, r: 3 }), line.colour));
        }
        return reading(line, index, value, several);
      });
      panel.readout.replaceChildren(...readings);
    });
    marks.replaceChildren(...parts);
  }

  function stressed(panel, line) {
    const { left, right, top, bottom } = panel.area;
    const clip = svg("clipPath", { id: `${clips}-${panel.axes[0]}` }, svg("rect", { x: left, y: top, width: right - left, height: bottom - top }));
    let pen = "M";
    let d = "";
    line.y.forEach((value, k) => {
      if (isNone(value)) return void (pen = "M");
      d += `${pen}${panel.x(line.x[k]).toFixed(1)},${panel.y(value).toFixed(1)}`;
      pen = "L";
    });
    return svg("g", {}, clip, coloured(svg("path", { class: "da-near", d, "clip-path": `url(#${clips}-${panel.axes[0]})` }), line.colour));
  }

  function reading(line, index, value, several) {
    const text = isNone(value) ? "–" : `${significant(value)}${panels[line.panel].unit}`;
    if (several) return el("span", { title: line.name }, swatch(line.colour, line.dash !== "solid"), text);
    return el("span", {}, index === null || index < 0 ? text : `${index}: ${text}`);
  }

  // Left and right go from state to state, up and down from run to run.
  function key(event) {
    const runs = [...new Set(lines.map((line) => line.run))];
    const [along, over] = [{ ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0, { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0];
    if (event.target !== node || !runs.length || event.altKey || event.ctrlKey || event.metaKey || !(along || (over && runs.length > 1))) return;
    event.preventDefault();
    const from = chosen && runs.includes(chosen.run) ? chosen : { run: runs.at(-1), at: along > 0 ? 0 : countOf(runs.at(-1)) };
    const run = runs[(runs.indexOf(from.run) + over + runs.length) % runs.length];
    const at = Math.min(countOf(run) - 1, Math.max(1, from.at + along));
    onChoose(run, at);
    const own = lines.filter((line) => line.run === run);
    said.textContent = `Step ${at}. ${own.map((line) => `${panels[line.panel].title}: ${isNone(line.y[at]) ? "unknown" : significant(line.y[at])}`).join(", ")}.`;
  }

  const countOf = (run) => lines.find((line) => line.run === run).x.length;

  /** Write the whole figure, with its title and legend, into a file; it rejects with an Error to be shown. */
  async function save(format) {
    if (!across) throw new Error("There is nothing to keep yet.");
    const layout = structuredClone(figure.layouts[across]);
    const width = Math.max(root.clientWidth, 900);
    try {
      await library.downloadImage({ data: figure.data, layout, config: figure.config }, { format, width, height: layout.height, filename: layout.meta.figure, scale: format === "png" ? 2 : 1 });
    } catch (error) {
      console.warn("figure", error);
      throw new Error("This browser could not write the file.");
    }
  }

  // Fit the room that there is now.
  function resize() {
    if (!figure || !library || !root.clientWidth) return;
    if (pending || fitting() !== across) draw(figure);
    else if (stage._fullLayout?.width !== root.clientWidth) library.relayout(stage, { width: root.clientWidth });
  }

  new ResizeObserver(resize).observe(root);
  return { node, draw, choose, save };
}

const isNone = (value) => value === null || value === undefined;

function coloured(node, colour) {
  node.style.color = colour;
  return node;
}

// The number of the place nearest to `x`, or null where that lies beyond the last by more than half a step.
function nearest(places, x) {
  if (!places.length) return null;
  let best = 0;
  for (let k = 1; k < places.length; k += 1) if (Math.abs(places[k] - x) <= Math.abs(places[best] - x)) best = k;
  const step = places.length > 1 ? places[1] - places[0] : 1;
  return x > places[best] + 0.51 * step ? null : best;
}

// Words as they were before they were written for plotly.js.
function plain(text) {
  return text.replace(/^<b>|<\/b>$/g, "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}
