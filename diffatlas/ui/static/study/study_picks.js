// Which lane and which seed the views below show.

import { el } from "../core/dom.js";

const PATHS = ["film", "pca", "umap", "curves"];
const ONE_LANE = ["map", "growth", "matrix"]; // views of a single lane

/** Create the choices in `root`. `onLane(key or null)` and `onRow(number or null)` are told; null means all. */
export function createPicks(root, { onLane, onRow }) {
  const lane = el("select", { class: "da-select", onchange: () => onLane(lane.value || null) });
  const row = el("select", { class: "da-select", onchange: () => onRow(row.value === "" ? null : Number(row.value)) });
  const lanes = el("label", { class: "da-field" }, el("span", {}, "Lane"), lane);
  const rows = el("label", { class: "da-field" }, el("span", {}, "Seed"), row);
  root.append(lanes, rows);

  function update({ study, view, lane: ofAll, pathLane, row: ofRow }) {
    const ofLane = PATHS.includes(view) ? pathLane : ofAll;
    const several = (study?.lanes.length ?? 0) > 1;
    const seeds = (study?.rows.length ?? 0) > 1;
    lanes.hidden = !several;
    rows.hidden = !seeds || ONE_LANE.includes(view);
    root.hidden = view === "grid" || (lanes.hidden && rows.hidden);
    if (root.hidden) return;
    const all = ONE_LANE.includes(view) ? [] : [["", "all lanes"]];
    offer(lane, [...all, ...study.lanes.map(({ key, name }) => [key, name])], ofLane ?? (all.length ? "" : study.lanes[0].key));
    offer(row, [["", "all seeds"], ...study.rows.map(({ row: number, seed }) => [String(number), `seed ${seed}`])], ofRow === null ? "" : String(ofRow));
  }

  return { update };
}

function offer(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.offered !== key) {
    select.dataset.offered = key;
    select.replaceChildren(...options.map(([option, text]) => el("option", { value: option }, text)));
  }
  select.value = value;
}
