// How far every cell of a lane lies from every other: the server's figure of one matrix of distances, and the two cells of
// the square that is pointed at.

import { el } from "../core/dom.js";
import { createDrawn } from "../figures/drawn.js";
import { absence, definitions, distanceWord } from "./study_basins.js";
import { createPair } from "./study_pair.js";

const ORDERS = [
  ["basin", "by basin"],
  ["column", "as asked for"],
];

/** Create the view in `root`. `onSelect(key of a cell)` is called for the cell of a row. */
export function createMatrix(root, { server, onSelect }) {
  const which = el("select", { class: "da-select", "aria-label": "Which distance", onchange: again });
  const order = el("select", { class: "da-select", "aria-label": "Order of rows and columns", onchange: again }, ...ORDERS.map(([value, text]) => el("option", { value }, text)));
  const ordered = el("label", { class: "da-field" }, el("span", {}, "ordered"), order);
  const place = el("div", { class: "da-matrix-map" });
  const card = createPair({ onSelect, hint: "Point at a square to see which two it is of, choose its row with a click. With the keyboard, the arrow keys lead from square to square." });
  const told = definitions();
  const absent = el("p", { class: "da-absent" });
  const chart = createDrawn(place, { server, call: "distances_figure", most: 1, fitted: true, onPoint: tell, onChoose: hold, onDrawn: () => tell(null) });
  const head = el("div", { class: "da-curves-head" }, el("label", { class: "da-field" }, el("span", {}, "Distances of"), which), ordered, chart.files);
  const body = el("div", { class: "da-matrix-body" }, head, el("div", { class: "da-matrix-columns" }, place, el("div", { class: "da-matrix-side" }, card.node)), told.node);
  root.append(absent, body);

  let state = null;
  let held = null; // [a, b] of the square that was chosen

  const lane = () => state?.measures?.lanes?.[state.lane] ?? null;

  function again() {
    held = null;
    update(state);
  }

  function update(next) {
    if (next.lane !== state?.lane || next.study.id !== state?.study.id) held = null;
    state = next;
    const { measures } = state;
    const known = (measures?.distances ?? []).filter(({ key }) => lane()?.matrices?.[key]?.length > 1);
    absent.hidden = known.length > 0;
    body.hidden = !absent.hidden;
    if (!known.length) {
      absent.textContent = absence(state);
      return chart.show(null);
    }
    offer(known);
    ordered.hidden = !(lane().basins?.count > 1);
    chart.show({ id: state.study.id, lane: state.lane, by: which.value, order: order.value, complete: lane().cells.length });
    tell(null);
    told.write([
      ["Start distance", measures.definitions?.start],
      ["Basins", !ordered.hidden && order.value === "basin" ? measures.definitions?.basins : null],
    ]);
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

  function hold({ of }) {
    held = of;
    onSelect(of[0]);
    tell(null);
  }

  // The two of the square that is pointed at, else of the one that is held, else the farthest two.
  function tell(pointed) {
    chart.choose({ id: state.selected, of: held });
    const farthest = chart.layout()?.meta.farthest ?? null;
    const two = pointed?.of ?? held ?? farthest;
    const own = lane();
    const [row, column] = two ? two.map((key) => own.cells.indexOf(key)) : [];
    const name = distanceWord(which.value);
    card.show(state, two, two && [[name.charAt(0).toUpperCase() + name.slice(1), own.matrices[which.value][row]?.[column] ?? null]], two === farthest ? "farthest from each other" : null);
  }

  return { update };
}
