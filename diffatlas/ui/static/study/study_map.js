// A lane of a neighbourhood as a map: its pictures where the server's figure has their cells (diffatlas/figures/map.py).

import { ask } from "../core/ask.js";
import { el, svg } from "../core/dom.js";
import { niceStep, short } from "../core/format.js";
import { plain } from "../figures/figure_words.js";
import { absence, basinColour, imageOf, tagOf, thumb, versionOf } from "./study_basins.js";
import { baselineOf } from "../runs/study_words.js";

const WAYS = [
  ["pca", "PCA"],
  ["mds", "MDS"],
  ["umap", "UMAP"],
];
const THINGS = [
  ["image", "of images"],
  ["latent", "of latents"],
];
const POLL = 1000; // ms between two questions about a UMAP that is being computed
const SCALE = { width: 110, height: 32 }; // px at the lower left that belong to the scale
const RING = 5; // px between the places that are tried for a picture

/** Create the map in `root`. `onSelect(key of a cell)` is called when a picture is chosen. */
export function createMap(root, { server, onSelect }) {
  const way = choice("Map by", WAYS, "mds");
  const thing = choice("of what", THINGS, "image");
  const readout = el("p", { class: "da-map-readout", "aria-live": "polite" });
  const back = svg("g");
  const dots = svg("g");
  const front = svg("g");
  const chart = svg("svg", { "aria-hidden": "true" }, back);
  const over = svg("svg", { class: "da-scatter-over", "aria-hidden": "true" }, front, dots);
  const markers = el("div", { class: "da-scatter-shots", role: "group" });
  const message = el("p", { class: "da-absent", role: "status", hidden: "" });
  const stage = el("div", { class: "da-scatter" }, chart, markers, over, message);
  const about = el("div", {});
  const legend = el("ul", { class: "da-basin-legend" });
  const head = el("div", { class: "da-curves-head da-map-head" }, el("label", { class: "da-field" }, el("span", {}, "Map"), way), thing, readout);
  root.append(head, stage, about, legend);

  let state = null;
  let drawn = "";
  let placed = []; // {key, node, x, y: the point, left, top: the centre of the picture}
  let hovered = null;
  let reachable = null; // the one picture that Tab stops at
  const maps = new Map(); // what was asked -> {figure, message}
  let figure = null; // the one that is on screen

  markers.addEventListener("click", (event) => {
    const key = keyAt(event);
    if (key) onSelect(key);
  });
  markers.addEventListener("pointerover", (event) => point(keyAt(event)));
  markers.addEventListener("pointerleave", () => point(null));
  markers.addEventListener("focusin", (event) => {
    rove(keyAt(event));
    if (event.target.matches(":focus-visible")) point(keyAt(event));
  });
  markers.addEventListener("focusout", () => point(null));
  markers.addEventListener("keydown", move);

  const keyAt = (event) => event.target.closest("[data-cell]")?.dataset.cell ?? null;

  function choice(label, options, chosen) {
    const select = el("select", { class: "da-select", "aria-label": label, onchange: draw }, ...options.map(([value, text]) => el("option", { value }, text)));
    select.value = chosen;
    return select;
  }

  function update(next) {
    state = next;
    draw();
  }

  function draw() {
    if (!state || !root.clientWidth) return; // hidden: drawn when it is shown
    const lane = state.measures?.lanes?.[state.lane];
    const known = THINGS.map(([value]) => value).filter((value) => lane?.maps?.[value]);
    head.hidden = !known.length;
    about.hidden = legend.hidden = !known.length;
    if (!known.length) {
      drawn = "";
      clear();
      return tell(absence(state));
    }
    for (const option of thing.options) option.disabled = !known.includes(option.value);
    if (!known.includes(thing.value)) [thing.value] = known;
    const map = mapOf(lane);
    const images = lane.cells.map((key) => imageOf(state.cells, key));
    const key = [state.study.id, state.lane, versionOf(state.measures), way.value, thing.value, root.clientWidth, Boolean(map.figure), map.message, ...images].join();
    if (key !== drawn) {
      drawn = key;
      hovered = null;
      figure = map.figure;
      const cells = figure ? cellsOf(figure) : [];
      if (cells.length) place(lane, cells);
      else clear();
      tell(cells.length ? null : (map.message ?? figure?.layout.meta.says));
      about.hidden = legend.hidden = !cells.length;
      if (cells.length) explain(lane);
    }
    mark();
  }

  // The figure is asked of the server; one by UMAP again and again until it is there.
  function mapOf(lane) {
    const question = { id: state.study.id, lane: state.lane, of: thing.value, kind: way.value };
    const key = JSON.stringify([question, versionOf(state.measures), lane.cells]);
    const answer = maps.get(key);
    if (answer) return answer;
    const waiting = { figure: null, message: "Drawing the map…" };
    maps.set(key, waiting);
    const put = (found) => {
      maps.set(key, found);
      draw();
    };
    const wanted = () => root.clientWidth && way.value === question.kind && thing.value === question.of && state.lane === question.lane && state.study.id === question.id;
    const poll = async () => {
      try {
        const found = await ask(server, "map_figure", { ...question, across: 1 });
        if (!found.pending) return put({ figure: { data: found.data, layout: found.layouts[1] }, message: null });
        if (!wanted()) return maps.delete(key); // asked again when it is looked at again
        put({ figure: null, message: found.pending });
        setTimeout(poll, POLL);
      } catch (error) {
        maps.delete(key);
        if (wanted()) fail(key, error.message);
      }
      return null;
    };
    poll();
    return waiting;
  }

  // A refusal stays until something else is looked at: then it is asked once more.
  function fail(key, words) {
    maps.set(key, { figure: null, message: words });
    draw();
    const forget = () => maps.delete(key);
    way.addEventListener("change", forget, { once: true, capture: true });
  }

  function clear() {
    for (const layer of [back, front, dots]) layer.replaceChildren();
    markers.replaceChildren();
    placed = [];
    readout.textContent = "";
  }

  function tell(words) {
    message.hidden = !words;
    message.textContent = words ?? "";
  }

  function place(lane, cells) {
    const { study } = state;
    stage.classList.toggle("da-scatter-many", cells.length > 24);
    const width = stage.clientWidth;
    const height = stage.clientHeight;
    const size = sizeOf(cells.length, width);
    stage.style.setProperty("--da-shot", `${size}px`);
    const points = fitted(cells.map(({ x, y }) => [x, y]), width, height, size + 14);
    const anchor = baselineOf(state);
    // The anchor stays where it is, and the others make room for it.
    const spots = apart(points.at, cells.findIndex(({ key }) => columnOf(key) === anchor), size + 10, width, height);
    const slerp = study.spec?.mode === "slerp";
    const far = slerp ? study.columns.at(-1).column : null;
    placed = cells.map(({ key, basin, told }, k) => {
      const cell = study.cells.find((each) => each.key === key);
      const [[x, y], [left, top]] = [points.at[k], spots[k]];
      const end = cell?.column === anchor ? "start" : cell?.column === far ? "end" : null;
      const text = size >= 40 || end ? tagOf(study, key, size >= 48 ? 6 : 4) : "";
      const node = el(
        "button",
        { type: "button", class: "da-scatter-shot", "data-cell": key, "data-end": end, "data-basin": basinColour(lane.basins, basin), tabindex: -1, "aria-label": told, style: `left: ${left}px; top: ${top}px` },
        thumb(state.cells, key),
        text ? el("span", {}, text) : null,
      );
      return { key, told, node, x, y, left, top };
    });
    markers.setAttribute("aria-label", `Map of ${placed.length} cells; the arrow keys lead from one to the next`);
    markers.replaceChildren(...placed.map(({ node }) => node));
    rove(placed.some(({ key }) => key === reachable) ? reachable : (placed[0]?.key ?? null));
    back.replaceChildren(...basinsBehind(lane, points.place), ...wayThrough(points.place), ...placed.map(stalk), ...scale(points.scale, width, height));
    dots.replaceChildren(...placed.map(({ key, x, y }) => svg("circle", { cx: x, cy: y, r: 3, class: "da-scatter-point", "data-end": columnOf(key) === anchor ? "start" : null })));
  }

  const partsOf = (part) => figure.data.filter(({ meta }) => meta.part === part);
  const wayOf = ({ x, y }, at) => x.map((_, k) => at(x[k], y[k]).map((pixel) => pixel.toFixed(1)).join()).join(" ");

  // A soft patch under the points of each basin, and between two anchors the way through the stops.
  const basinsBehind = (lane, at) => partsOf("outline").map((trace) => svg("polygon", { points: wayOf(trace, at), class: "da-basin-patch", "data-basin": basinColour(lane.basins, trace.meta.basin) }));
  const wayThrough = (at) => partsOf("way").map((trace) => svg("polyline", { points: wayOf(trace, at), class: "da-scatter-way" }));

  const columnOf = (key) => state.study.cells.find((cell) => cell.key === key)?.column ?? 0;

  const stalk = ({ x, y, left, top }) => svg("line", { x1: x, y1: y, x2: left, y2: top, class: "da-scatter-stalk" });

  // How long a distance is on a map that keeps them.
  function scale(perUnit, width, height) {
    if (!figure.layout.meta.keeps || !Number.isFinite(perUnit)) return [];
    let unit = niceStep(Math.min(140, width / 4) / perUnit / 2);
    if (unit * perUnit > width / 3) unit /= 2;
    const [x, y] = [12, height - 12];
    return [
      svg("path", { d: `M${x},${y - 4}v4h${(unit * perUnit).toFixed(1)}v-4`, class: "da-scatter-scale" }),
      svg("text", { x, y: y - 8, class: "da-axis" }, `distance ${short(unit)}`),
    ];
  }

  function explain(lane) {
    const told = [...figure.layout.meta.told, "A line leads from a picture to its point, where pictures would cover each other."];
    about.replaceChildren(el("p", { class: "da-caption" }, told.join(" ")));
    const basins = partsOf("cells").filter(({ meta }) => meta.basin !== null);
    legend.hidden = basins.length < 2;
    legend.replaceChildren(...basins.map(({ name, meta }) => el("li", { "data-basin": basinColour(lane.basins, meta.basin) }, el("i", { class: "da-basin-mark", "aria-hidden": "true" }), el("span", {}, plain(name)))));
  }

  function point(key) {
    if (key === hovered) return;
    hovered = key;
    mark();
  }

  function mark() {
    for (const { key, node } of placed) {
      node.setAttribute("aria-pressed", String(key === state.selected));
      node.classList.toggle("da-near", key === hovered);
    }
    const at = placed.find(({ key }) => key === (hovered ?? state.selected));
    const anchor = placed.find(({ key }) => columnOf(key) === baselineOf(state));
    const reach = at && anchor && at !== anchor ? [svg("line", { x1: anchor.x, y1: anchor.y, x2: at.x, y2: at.y, class: "da-scatter-reach" })] : [];
    front.replaceChildren(...reach, ...(at ? [svg("circle", { cx: at.x, cy: at.y, r: 6, class: "da-scatter-now" })] : []));
    const words = at?.told ?? "";
    if (readout.textContent !== words) readout.textContent = words;
  }

  function rove(key) {
    if (!key) return;
    reachable = key;
    for (const each of placed) each.node.tabIndex = each.key === key ? 0 : -1;
  }

  // The nearest picture in the direction of the key.
  function move(event) {
    const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [0, 0];
    const from = placed.find(({ key }) => key === keyAt(event));
    if (!from || (!dx && !dy)) return;
    event.preventDefault();
    let best = null;
    let least = Infinity;
    for (const each of placed) {
      const along = (each.left - from.left) * dx + (each.top - from.top) * dy;
      const aside = Math.abs((each.left - from.left) * dy) + Math.abs((each.top - from.top) * dx);
      if (each !== from && along > 1 && along + 2 * aside < least) [best, least] = [each, along + 2 * aside];
    }
    best?.node.focus();
  }

  new ResizeObserver(draw).observe(root);
  return { update };
}

function sizeOf(count, width) {
  const most = width < 560 ? 46 : 60;
  return Math.max(26, Math.min(most, Math.round(Math.sqrt((0.26 * width * 400) / Math.max(1, count)))));
}

/** Points in px, with one scale for both axes: {at: [[x, y]], scale: px for a unit, place(x, y) in px}. */
function fitted(coords, width, height, margin) {
  const of = (axis) => coords.map((point) => point[axis]);
  const [left, right, low, high] = [Math.min(...of(0)), Math.max(...of(0)), Math.min(...of(1)), Math.max(...of(1))];
  const scale = Math.min((width - 2 * margin) / (right - left), (height - 2 * margin) / (high - low));
  const known = Number.isFinite(scale);
  const place = (x, y) => (known ? [width / 2 + scale * (x - (left + right) / 2), height / 2 - scale * (y - (low + high) / 2)] : [width / 2, height / 2]);
  return { at: coords.map(([x, y]) => place(x, y)), scale, place };
}

// The cells of a map: {key, x, y, basin, told}.
function cellsOf({ data }) {
  const cells = data.filter(({ meta }) => meta.part === "cells");
  return cells.flatMap(({ x, y, customdata, hovertext, meta }) => customdata.map((key, k) => ({ key, x: x[k], y: y[k], basin: meta.basin ?? null, told: plain(hovertext[k].replaceAll("<br>", " ")) })));
}

/**
 * Centres of squares of `size` px that do not cover each other, each at the free place nearest to its point. The one
 * numbered `first` chooses first, then the others from near it to far, so that what is near stays near.
 */
function apart(points, first, size, width, height) {
  const from = points[Math.max(0, first)];
  const away = points.map(([x, y]) => Math.hypot(x - from[0], y - from[1]));
  const order = points.map((_, k) => k).sort((a, b) => (b === first) - (a === first) || away[a] - away[b] || a - b);
  const inside = ([x, y]) => x >= size / 2 && y >= size / 2 && x <= width - size / 2 && y <= height - size / 2 - 4 && (x - size / 2 > SCALE.width || y + size / 2 < height - SCALE.height);
  const spots = [];
  const taken = [];
  for (const k of order) {
    const free = (spot) => inside(spot) && taken.every(([x, y]) => Math.abs(x - spot[0]) >= size || Math.abs(y - spot[1]) >= size);
    spots[k] = ringsAround(points[k], Math.hypot(width, height)).find(free) ?? points[k];
    taken.push(spots[k]);
  }
  return spots;
}

// A point, and points on ever larger rings around it.
function ringsAround([x, y], most) {
  const rings = [[x, y]];
  for (let radius = RING; radius < most; radius += RING) {
    const count = Math.min(72, Math.ceil(radius));
    for (let k = 0; k < count; k++) {
      const angle = (2 * Math.PI * k) / count;
      rings.push([x + radius * Math.cos(angle), y + radius * Math.sin(angle)]);
    }
  }
  return rings;
}
