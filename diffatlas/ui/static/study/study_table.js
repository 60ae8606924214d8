// Every cell of a study as one row of numbers. Drawn only while it is unfolded.

import { el } from "../core/dom.js";
import { short, significant } from "../core/format.js";
import { distancesOf, distanceTerm, placeOf, told } from "../runs/study_words.js";
import { term } from "../core/tips.js";

// [name in the measures, label, key of the glossary]
const SWEPT = [
  ["parting", "parts at", "parting"],
  ["guidance_norm_mean", "guid. norm", "guidance_norm"],
  ["guidance_angle_mean", "guid. angle", "guidance_angle"],
  ["path_length", "path length", "path_length"],
  ["straightness", "straightness", "straightness"],
  ["saturation", "saturation", "saturation"],
  ["luma_std", "luma spread", "luma_std"],
  ["clipped", "clipped", "clipped"],
  ["latent_max", "max |x|", "max"],
];

/** Create the table in `details`. `onSelect(key)` is called for a row. */
export function createTable(details, { onSelect }) {
  const note = el("p", { class: "da-caption" });
  const place = el("div", {});
  details.append(note, place);
  let state = null;
  let drawn = "";
  let rows = new Map();
  let marked = null;
  details.addEventListener("toggle", () => state && update(state));

  function update(next) {
    state = next;
    if (!details.open) return;
    note.hidden = Boolean(state.study);
    note.textContent = "Nothing to show yet: run a study, or open one.";
    if (!state.study) {
      drawn = "";
      place.replaceChildren();
      return;
    }
    const table = tabled(state);
    const key = JSON.stringify(table);
    if (key !== drawn) {
      drawn = key;
      draw(table);
      marked = null;
    }
    if (state.cell !== marked) {
      rows.get(marked)?.classList.remove("da-chosen");
      marked = state.cell;
      rows.get(marked)?.classList.add("da-chosen");
    }
  }

  function draw({ heads, lines }) {
    rows = new Map(
      lines.map(({ key, name, texts }) => [
        key,
        el(
          "tr",
          { "data-cell": key, onclick: () => onSelect(key) },
          el("th", { scope: "row" }, el("button", { type: "button", class: "da-row", "aria-label": `Choose ${name}` }, name)),
          ...texts.map((text) => el("td", {}, text)),
        ),
      ]),
    );
    const head = el("tr", {}, el("th", { scope: "col" }, "cell"), ...heads.map(([key, label]) => el("th", { scope: "col" }, key ? term(key, label) : label)));
    const table = el("table", { class: "da-table" }, el("thead", {}, head), el("tbody", {}, ...rows.values()));
    place.replaceChildren(el("div", { class: "da-table-box", tabindex: 0, role: "region", "aria-label": "Every cell in numbers" }, table));
  }

  return { update };
}

// Heads as [key of the glossary, label], and lines of texts.
function tabled(state) {
  const { study, measures } = state;
  const lanes = study.lanes.length > 1;
  const seeds = study.rows.length > 1;
  const sweep = study.operation === "sweep";
  const distances = measures?.distances ?? [];
  const named = !sweep && Object.values(measures?.lanes ?? {}).some((lane) => lane.names);
  const heads = [
    ...(lanes ? [[null, "lane"]] : []),
    ...(seeds ? [["seed", "seed"]] : []),
    [null, "status"],
    ["seconds", "seconds"],
    ...distances.map(({ key, label }) => [distanceTerm(key), label]),
    ...(measures && sweep ? SWEPT.map(([, label, key]) => [key, label]) : []),
    ...(measures && !sweep ? [["basin", "basin"]] : []),
    ...(named ? [[null, "shows"]] : []),
  ];
  const lines = study.cells.map((cell) => {
    const now = told(state.cells, cell.key);
    const known = new Map(distancesOf(state, cell).map(({ key, value }) => [key, value]));
    const own = measures?.cells?.[cell.key] ?? {};
    const { basin, shows } = placeOf(state, cell);
    const texts = [
      ...(lanes ? [study.lanes.find(({ key }) => key === cell.lane)?.name ?? cell.lane] : []),
      ...(seeds ? [String(study.rows.find(({ row }) => row === cell.row)?.seed ?? "–")] : []),
      now.cached && now.status === "complete" ? "library" : now.status,
      short(now.seconds, 3),
      ...distances.map(({ key }) => significant(known.get(key), 4)),
      ...(measures && sweep ? SWEPT.map(([name]) => (name === "parting" ? short(own[name]) : significant(own[name], 4))) : []),
      ...(measures && !sweep ? [basin === null ? "–" : String(basin)] : []),
      ...(named ? [shows ?? "–"] : []),
    ];
    return { key: cell.key, name: cell.label, texts };
  });
  return { heads, lines };
}
