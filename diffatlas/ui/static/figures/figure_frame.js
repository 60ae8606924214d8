// What every figure that Python defines (diffatlas/figures) has on a page, whatever draws its JSON (figure.js,
// small_figure.js): its titles, its legend, its sentences, and over it what follows the pointer or the chosen step, so that
// nothing is drawn anew for that.
//
// A figure in which things are pointed at says so in its layout's `meta`: `panels` has the term and the unit of each of
// its charts, whose lines are read together (figure_lines.js); `points` is true where its points stand for something
// (figure_points.js), and `squares` where it is a heat map (figure_cells.js). Its titles are written as elements, so that they explain themselves.

import { el, svg } from "../core/dom.js";
import { createCells } from "./figure_cells.js";
import { createLegend } from "./figure_legend.js";
import { createLines } from "./figure_lines.js";
import { createPoints } from "./figure_points.js";
import { plain } from "./figure_words.js";
import { term } from "../core/tips.js";

const TITLE = "panel"; // the name of the annotations that are titles
const HEAD = 26; // px above the first row of charts, which a title stands in
const FOOT = { ticks: 30, titles: 50 }; // px beneath the last one, for its ticks, and the title of its axis
const WIDE = 235; // px that a chart needs, unless told otherwise
const STILL = 5; // px that a click may move by

/**
 * Create a figure in `root`, which `createPen(stage, place)` draws (plotly_pen.js, svg_pen.js).
 *
 * `onChoose(line, at, key)` is called where a point of a line is chosen, by a click or by an arrow key, and
 * `onPoint(x, line)` with the place on the horizontal axis and the line that the pointer is at, or null; of a figure of
 * points or squares `onChoose(one)` and `onPoint(one or null)`. `wide` is the pixels that a chart needs at least; `named`:
 * whether the page names the lines itself.
 */
export function createFrame(root, createPen, { onChoose = () => {}, onPoint = () => {}, wide = WIDE, named = false } = {}) {
  const stage = el("div", { class: "da-figure-stage" });
  const marks = svg("svg", { class: "da-figure-marks", "aria-hidden": "true" });
  const heads = el("div", { class: "da-figure-heads" });
  const legend = createLegend({ onToggle: toggle });
  const choices = el("div", { class: "da-figure-choices", role: "group", hidden: "" });
  const whole = el("button", { type: "button", class: "da-plain da-figure-whole", hidden: "", onclick: unzoom }, "Show all of it again");
  const says = el("div", { class: "da-figure-says" });
  const spoken = el("p", { class: "da-unseen" });
  const said = el("p", { class: "da-unseen", role: "status" });
  const node = el("div", { class: "da-figure", role: "group", onkeydown: key }, choices, stage, marks, heads, whole, legend.node, says, spoken, said);
  root.append(node);

  const pen = createPen(stage, place);
  let figure = null; // as the server tells it
  const kinds = { lines: createLines({ onChoose, onPoint, named }), points: createPoints({ onChoose, onPoint }), cells: createCells({ onChoose, onPoint }) };
  let pointing = null; // one of them, or null where nothing is pointed at
  let panels = []; // {axes, head, readout, unit, title}, and once drawn their area and what turns values into pixels
  let pointed = null; // as that one aims
  let pressed = null;
  let twice = false; // whether what is pressed is the second of two clicks
  let across = 0;
  let pending = false; // whether the figure waits for room
  let taken = 0; // the number of the choice that is taken, of a figure that offers some

  stage.addEventListener("pointermove", (event) => point(aim(event)));
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("pointerdown", (event) => (pressed = event.button ? null : event));
  // The browser says which click is the second of two; plotly.js goes by its own clock, which a busy page outruns.
  stage.addEventListener("mousedown", (event) => (twice = event.detail === 2 && !event.button), true);
  window.addEventListener("mouseup", () => {
    if (twice && !whole.hidden) unzoom();
    twice = false;
  });
  window.addEventListener("pointercancel", () => (pressed = null)); // a finger that scrolls
  window.addEventListener("pointerup", (event) => {
    const from = pressed;
    pressed = null;
    if (!from || Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) > STILL) return;
    pointing?.press(aim(event));
  });

  /** Draw a figure, at once or as soon as there is room; it rejects with an Error to be shown. */
  async function draw(next) {
    figure = next;
    await pen.load();
    pending = !root.clientWidth;
    if (pending || figure !== next) return;
    across = fitting();
    // What draws may change what it is given, as one zooms.
    const layout = onPage(structuredClone(figure.layouts[across]));
    offer(figure.layouts[across]);
    const traces = figure.data.map((trace, number) => ({ ...trace, ...(legend.isHidden(trace, number) ? { visible: false } : {}), ...(isRead(layout, trace) ? SILENT : {}) }));
    await pen.draw(traces, layout, figure.config);
    read(figure.layouts[across]);
    place();
  }

  // What can be chosen of a figure, such as the scale of an axis: buttons, as plotly.js has them in a notebook.
  function offer({ updatemenus: [menu] = [] }) {
    choices.hidden = !menu;
    if (!menu) return;
    if (choices.childElementCount !== menu.buttons.length) {
      choices.replaceChildren(...menu.buttons.map(({ label }, number) => el("button", { type: "button", onclick: () => take(number) }, plain(label))));
    }
    choices.setAttribute("aria-label", menu.name ?? "");
    [...choices.children].forEach((button, number) => button.setAttribute("aria-pressed", String(number === taken)));
  }

  function take(number) {
    taken = number;
    return draw(figure);
  }

  const fitting = () => Object.keys(figure.layouts).map(Number).filter((count, at) => !at || root.clientWidth >= count * wide).at(-1);

  // The layout without its titles and its legend, which are elements here. Where steps are followed the page names the
  // runs and reads the values; of any other figure plotly.js says what a point is.
  function onPage(layout) {
    const follows = Boolean(layout.meta.panels);
    const top = HEAD + (layout.meta.reading ?? 0);
    const foot = follows && !layout.meta.titled ? FOOT.ticks : FOOT.titles;
    for (const [path, value] of Object.entries(layout.updatemenus?.[0].buttons[taken].args[0] ?? {})) setPath(layout, path, value);
    return {
      ...layout,
      title: undefined,
      updatemenus: undefined,
      showlegend: false,
      ...(follows ? { hovermode: figure.data.some(({ meta }) => meta?.mark) ? "closest" : false } : {}),
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
    pointing = meta.panels ? kinds.lines : meta.points ? kinds.points : meta.squares ? kinds.cells : null;
    if (pointing) node.tabIndex = 0;
    legend.node.hidden = named;
    if (!named) legend.update(figure.data, plain);
    says.replaceChildren(...(meta.told ?? [meta.says]).map((words) => el("p", { class: "da-caption" }, words)));
    spoken.textContent = meta.spoken;
    const titles = annotations.filter(({ name }) => name === TITLE);
    panels = titles.map(({ text }, k) => {
      const readout = el("span", { class: "da-readout" });
      const { key = null, unit = "", whole: counts = false, name = plain(text) } = meta.panels?.[k] ?? {};
      const head = el("div", { class: "da-figure-head", "data-metric": key }, key ? term(key, name) : el("span", {}, name), readout);
      return { axes: [`xaxis${k ? k + 1 : ""}`, `yaxis${k ? k + 1 : ""}`], head, readout, unit, counts, title: plain(text) };
    });
    heads.replaceChildren(...panels.map(({ head }) => head));
    if (!panels.length) panels = [{ axes: ["xaxis", "yaxis"], head: null }];
    pointing?.read(figure.layouts[across], panels, figure.data.filter((trace, number) => !legend.isHidden(trace, number)));
  }

  function toggle(numbers, shown) {
    read(figure.layouts[across]);
    place();
    return pen.hide(numbers, shown);
  }

  // Where the charts lie now: they move as one zooms, since their ticks take more or less room.
  function place() {
    const room = pen.room();
    if (!room || !figure || !across) return;
    for (const name of ["width", "height"]) marks.setAttribute(name, room[name]);
    heads.style.height = `${room.height}px`;
    const above = choices.hidden ? 0 : choices.offsetHeight;
    for (const over of [marks, heads]) over.style.top = `${above}px`;
    whole.hidden = !pen.isZoomed(figure.layouts[across]);
    for (const panel of panels) {
      const [[west, east], [south, north]] = panel.axes.map((name) => figure.layouts[across][name]?.domain ?? [0, 1]);
      const area = { left: room.left + west * room.across, right: room.left + east * room.across, top: room.top + (1 - north) * room.down, bottom: room.top + (1 - south) * room.down };
      if (panel.head) Object.assign(panel.head.style, { left: `${area.left}px`, width: `${area.right - area.left}px`, bottom: `${room.height - area.top + 4}px` });
      // An axis on which nothing is drawn is not known.
      const [x, y] = panel.axes.map((name) => pen.axis(name));
      panel.area = x && y ? area : null;
      if (!panel.area) continue;
      [panel.x, panel.back, panel.y, panel.up] = [x.to, x.back, y.to, y.back];
    }
    mark();
  }

  function unzoom() {
    return pen.unzoom(figure.layouts[across]);
  }

  // What the pointer is at.
  function aim({ clientX, clientY }) {
    const box = stage.getBoundingClientRect();
    const [left, top] = [clientX - box.left, clientY - box.top];
    const panel = panels.findIndex(({ area }) => area && left >= area.left && left <= area.right && top >= area.top && top <= area.bottom);
    return panel < 0 || !pointing ? null : pointing.aim(panel, left, top);
  }

  function point(next) {
    if (!next && !pointed) return;
    pointed = next;
    mark();
  }

  /**
   * Mark a point of a line, {line, at}; the one that has a key, {key}; a line, {line}; a place on the horizontal axis and
   * some lines, {x, lines}; or none. In a figure of points mark
   * one, {id}, and those that have to do with `touching`; in one of squares the row of {id}, and the square {of}.
   */
  function choose(next) {
    for (const kind of Object.values(kinds)) kind.choose(next);
    mark();
  }

  function mark() {
    if (pointing && panels.length) marks.replaceChildren(...pointing.mark(pointed));
  }

  function key(event) {
    if (event.target !== node || !pointing || event.altKey || event.ctrlKey || event.metaKey) return;
    if (pointing === kinds.lines) {
      const words = pointing.key(event);
      if (words === null) return;
      said.textContent = words;
    } else {
      const next = pointing.step(event, pointed);
      const pressing = pointed && (event.key === "Enter" || event.key === " ");
      if (!next && !pressing) return;
      if (next) point(next);
      else pointing.press(pointed);
    }
    event.preventDefault();
  }

  /** Write the whole figure, with its title and legend, into a file, where the pen can; it rejects with an Error to be shown. */
  async function save(format) {
    if (!across) throw new Error("There is nothing to keep yet.");
    const layout = structuredClone(figure.layouts[across]);
    const width = Math.max(root.clientWidth, 900);
    try {
      await pen.save(figure.data, layout, figure.config, format, width);
    } catch (error) {
      console.warn("figure", error);
      throw new Error("This browser could not write the file.");
    }
  }

  // Fit the room that there is now.
  function resize() {
    if (!figure || !root.clientWidth || !(pending || across)) return;
    if (pending || fitting() !== across) draw(figure);
    else if (pen.room()?.width !== root.clientWidth) pen.widen(root.clientWidth);
  }

  new ResizeObserver(resize).observe(root);
  return { node, draw, choose, save: pen.save && save, find: (of) => kinds.points.find(of), data: () => figure?.data ?? [], layout: () => figure?.layouts[across] ?? null };
}

// "yaxis.tickfont.size" of a layout.
function setPath(layout, path, value) {
  const names = path.split(".");
  const last = names.pop();
  names.reduce((part, name) => (part[name] ??= {}), layout)[last] = value;
}

const SILENT = { hoverinfo: "skip", hovertemplate: null }; // read above the chart, not beside the pointer
const isRead = ({ meta: of }, { meta }) => (of.panels && meta?.measure && !meta.mark) || (of.points && meta?.points) || (of.squares && meta?.cells);
