// How far every cell of a lane lies from every other: one matrix of distances as a heat map.

import { el, svg } from "../core/dom.js";
import { significant } from "../core/format.js";
import { cellAt, heatMap, largest, legend } from "../figures/heat_map.js";
import { absence, calledOf, definitions, distanceWord, imageOf, pairs, tagOf, thumb, versionOf } from "./study_basins.js";
import { createPair } from "./study_growth.js";

const ORDERS = [
  ["basin", "by basin"],
  ["column", "as asked for"],
];
const MOST = 540; // px, of the map's side
const SHOTS = 17; // px of a cell, from which on its picture is at the edge
const NUMBERS = 42; // px of a cell, from which on its number is in it

/** Create the view in `root`. `onSelect(key of a cell)` is called for the cell of a row. */
export function createMatrix(root, { onSelect }) {
  const which = el("select", { class: "da-select", "aria-label": "Which distance", onchange: draw });
  const order = el("select", { class: "da-select", "aria-label": "Order of rows and columns", onchange: draw }, ...ORDERS.map(([value, text]) => el("option", { value }, text)));
  const ordered = el("label", { class: "da-field" }, el("span", {}, "ordered"), order);
  const head = el("div", { class: "da-curves-head" }, el("label", { class: "da-field" }, el("span", {}, "Distances of"), which), ordered);
  const about = el("p", { class: "da-caption" });
  const top = el("div", { class: "da-matrix-edge da-matrix-top", "aria-hidden": "true" });
  const left = el("div", { class: "da-matrix-edge da-matrix-left" });
  const place = el("div", { class: "da-matrix-map" });
  const scale = el("div", { class: "da-matrix-scale" });
  const grid = el("div", { class: "da-matrix-grid" }, el("span", {}), top, left, place, el("span", {}), scale);
  const card = createPair({ onSelect, hint: "Point at a square to see which two it is of, choose its row with a click. With the keyboard, the arrow keys lead from square to square." });
  const facts = el("dl", { class: "da-numbers da-matrix-facts" });
  const told = definitions();
  const absent = el("p", { class: "da-absent" });
  const body = el("div", { class: "da-matrix-body" }, head, el("div", { class: "da-matrix-columns" }, grid, el("div", { class: "da-matrix-side" }, card.node, facts)), about, told.node);
  root.append(absent, body);

  let state = null;
  let drawn = "";
  let shown = null; // {keys in order, values: [[number or null]], name, overlay}
  let at = null; // {row, column} under the pointer or the keys
  let held = null; // the same, where it was clicked

  function update(next) {
    state = next;
    draw();
  }

  function draw() {
    if (!state || !root.clientWidth) return; // hidden: drawn when it is shown
    const lane = state.measures?.lanes?.[state.lane];
    const known = (state.measures?.distances ?? []).filter(({ key }) => lane?.matrices?.[key]?.length > 1);
    absent.hidden = known.length > 0;
    body.hidden = !absent.hidden;
    if (!known.length) {
      drawn = "";
      absent.textContent = absence(state);
      return;
    }
    offer(known);
    const several = lane.basins?.count > 1;
    ordered.hidden = !several;
    const next = [state.study.id, state.lane, versionOf(state.measures), which.value, order.value, root.clientWidth, ...lane.cells.map((key) => imageOf(state.cells, key))].join();
    if (next !== drawn) {
      drawn = next;
      at = held = null;
      drawMap(lane, known.find(({ key }) => key === which.value), several && order.value === "basin");
    }
    mark();
  }

  // Images first, where nothing else was chosen: they are what one sees.
  function offer(known) {
    const offered = known.map(({ key, label }) => `${key} ${label}`).join();
    if (which.dataset.offered === offered) return;
    which.dataset.offered = offered;
    const keys = known.map(({ key }) => key);
    const value = keys.includes(which.value) ? which.value : keys.includes("image") ? "image" : keys[0];
    which.replaceChildren(...known.map(({ key, label }) => el("option", { value: key }, label)));
    which.value = value;
  }

  function drawMap(lane, distance, byBasin) {
    const { study, cells, measures } = state;
    const matrix = lane.matrices[distance.key];
    const places = lane.cells.map((_, k) => k);
    if (byBasin) places.sort((a, b) => lane.basins.labels[a] - lane.basins.labels[b] || a - b);
    const n = places.length;
    const keys = places.map((k) => lane.cells[k]);
    const values = places.map((a) => places.map((b) => matrix[a][b]));
    const flat = Float64Array.from(values.flat(), (value) => value ?? 0);
    const max = largest(flat);
    const room = root.clientWidth;
    const tags = room >= 560 ? 24 : 0;
    const side = Math.floor(Math.min(MOST, room - tags - 40));
    const size = side / n;
    const shots = size >= SHOTS;
    const shot = Math.floor(Math.min(size - 2, 36));
    grid.style.setProperty("--da-side", `${side}px`);
    grid.style.setProperty("--da-left", shots ? `${shot + tags + 4}px` : "0px");
    grid.style.setProperty("--da-top", shots ? `${shot + 4}px` : "0px");
    grid.style.setProperty("--da-edge-shot", `${shot}px`);
    const canvas = heatMap({
      rows: n,
      columns: n,
      values: flat,
      max,
      label: `${distance.label}: distances of ${n} cells, up to ${significant(max, 3)}; the arrow keys lead through them, Enter chooses a row`,
      onRead: (row, column) => read(row === null ? null : { row, column }),
      tabindex: 0,
      onkeydown: step,
      onblur: () => read(null),
      onclick: (event) => hold(cellAt(canvas, event)),
    });
    canvas.setAttribute("role", "application");
    const overlay = svg("svg", { viewBox: `0 0 ${side} ${side}`, class: "da-matrix-overlay", "aria-hidden": "true" });
    const marks = svg("g");
    overlay.append(...bounds(lane, places, byBasin, size, side), ...numbers(values, max, size), marks);
    place.replaceChildren(canvas, overlay);
    shown = { keys, values, marks, size, side, name: cap(distanceWord(distance.key)), farthest: extremes(keys, values)?.at(-1) ?? null };
    top.replaceChildren(...(shots ? keys.map((key) => el("span", { class: "da-edge-shot" }, thumb(cells, key))) : []));
    left.replaceChildren(
      ...(shots ? keys.map((key) => el("button", { type: "button", class: "da-edge-shot", "data-cell": key, tabindex: -1, "aria-label": `Choose ${calledOf(study, key)}`, title: calledOf(study, key), onclick: () => onSelect(key) }, thumb(cells, key), tags ? el("span", {}, tagOf(study, key, 3)) : null)) : []),
    );
    scale.replaceChildren(legend(max, ""));
    about.textContent = [distance.about, distance.key === "start" ? measures.note : null].filter(Boolean).join(" ");
    facts.replaceChildren(...pairs(factsOf(study, keys, values)));
    told.write([
      ["Start distance", measures.definitions?.start],
      ["Basins", byBasin ? measures.definitions?.basins : null],
    ]);
  }

  function read(next) {
    at = next;
    mark();
  }

  function hold(cell) {
    held = cell;
    onSelect(shown.keys[cell.row]);
    mark();
  }

  function step(event) {
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [0, 0];
    const last = shown.keys.length - 1;
    const from = at ?? held ?? { row: 0, column: 0 };
    if (down || right) {
      event.preventDefault();
      const within = (value) => Math.min(last, Math.max(0, value));
      read(at || held ? { row: within(from.row + down), column: within(from.column + right) } : from);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      hold(from);
    }
  }

  function mark() {
    if (!shown) return;
    const { keys, values, marks, size, side, name, farthest } = shown;
    const now = at ?? held;
    const chosen = keys.indexOf(state.selected);
    const rect = (x, y, w, h, kind) => svg("rect", { x, y, width: w, height: h, class: kind });
    marks.replaceChildren(
      ...(chosen >= 0 ? [rect(0, chosen * size, side, size, "da-matrix-chosen")] : []),
      ...(now ? [rect(now.column * size, 0, size, side, "da-matrix-line"), rect(0, now.row * size, side, size, "da-matrix-line"), rect(now.column * size, now.row * size, size, size, "da-matrix-now")] : []),
    );
    for (const shot of left.children) shot.classList.toggle("da-chosen", shot.dataset.cell === state.selected);
    if (now) card.show(state, [keys[now.row], keys[now.column]], [[name, values[now.row][now.column]]], null);
    else card.show(state, farthest && [farthest.a, farthest.b], farthest && [[name, farthest.value]], "farthest from each other");
  }

  new ResizeObserver(draw).observe(root);
  return { update };
}

// Lines between the basins, where the cells are ordered by them.
function bounds(lane, places, byBasin, size, side) {
  if (!byBasin) return [];
  const { labels } = lane.basins;
  const cuts = places.flatMap((k, at) => (at && labels[places[at - 1]] !== labels[k] ? [at * size] : []));
  const d = cuts.map((cut) => `M0,${cut}H${side}M${cut},0V${side}`).join("");
  // Light on dark, so that it is seen on both.
  return ["da-matrix-bound da-matrix-bound-dark", "da-matrix-bound"].map((kind) => svg("path", { d, class: kind }));
}

function numbers(values, max, size) {
  if (size < NUMBERS) return [];
  return values.flatMap((row, a) =>
    row.map((value, b) =>
      svg("text", { x: (b + 0.5) * size, y: (a + 0.5) * size + 4, "text-anchor": "middle", class: (value ?? 0) > 0.55 * max ? "da-matrix-dark" : "da-matrix-light" }, a === b ? "" : significant(value, 2)),
    ),
  );
}

// Every pair {a, b, value} that is known, the nearest first, or null.
function extremes(keys, values) {
  const all = keys.flatMap((a, i) => keys.slice(i + 1).map((b, k) => ({ a, b, value: values[i][i + 1 + k] }))).filter(({ value }) => value !== null);
  return all.length ? all.sort((a, b) => a.value - b.value) : null;
}

// The nearest two, the farthest two, and the middle of all.
function factsOf(study, keys, values) {
  const all = extremes(keys, values);
  if (!all) return [];
  const half = all.length / 2;
  const median = (all[Math.ceil(half) - 1].value + all[Math.floor(half)].value) / 2;
  const who = ({ a, b }) => `${calledOf(study, a)} and ${calledOf(study, b)}`.replaceAll("the anchor", "anchor");
  return [
    ["Nearest", `${significant(all[0].value, 3)}, ${who(all[0])}`],
    ["Median", significant(median, 3)],
    ["Farthest", `${significant(all.at(-1).value, 3)}, ${who(all.at(-1))}`],
  ];
}

const cap = (text) => text.charAt(0).toUpperCase() + text.slice(1);
