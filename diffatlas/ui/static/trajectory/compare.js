// Two locked layers held against each other: how far apart, in what direction, and from which step on
// (diffatlas/figures/comparison.py).

import { el } from "../core/dom.js";
import { withTerms } from "../core/tips.js";
import { createDrawn } from "../figures/drawn.js";

const ALIGNS = [
  ["auto", "Auto"],
  ["step", "By step"],
  ["dtw", "DTW"],
  ["procrustes", "Procrustes"],
];

/**
 * Create the comparison in `root`, which hides itself where there are not two locked layers. `onSelect(id, index)` is
 * called for a step of the first.
 */
export function createCompare(root, { server, onSelect }) {
  const select = (label) => el("select", { class: "da-select", "aria-label": label, onchange: () => asked && run() });
  const first = select("First layer");
  const second = select("Second layer");
  const align = select("Alignment");
  align.append(...ALIGNS.map(([value, text]) => el("option", { value }, text)));
  const go = el("button", { type: "button", class: "da-button da-compare-go", onclick: run }, "Compare");
  const result = el("div", { class: "da-compare-result", "aria-live": "polite" });
  const drawn = createDrawn(result, { server, call: "compare", most: 2, onChoose: (line, at) => choose(line, at) });
  result.prepend(drawn.files);
  const field = (label, control) => el("label", { class: "da-field" }, el("span", {}, label), control);
  root.append(
    el("div", { class: "da-compare-form" }, field("Hold", first), field("against", second), field("aligned", align), go),
    el(
      "p",
      { class: "da-caption" },
      ...withTerms("{distance|Distance} and {angle|angle} between the latents of two locked layers, and the step at which they {parting|part}. Where the numbers of steps differ, {dtw|dynamic time warping} or {procrustes|Procrustes} aligns them; Auto chooses."),
    ),
    result,
  );
  let locked = [];
  let offered = "";
  let asked = null; // what is compared
  drawn.show(null);

  function run() {
    asked = { a: first.value, b: second.value, align: align.value };
    drawn.choose(null);
    drawn.show(asked);
  }

  // The step of the first layer at a point of a line.
  function choose(line, at) {
    drawn.choose({ line, at });
    const step = Math.round(drawn.data().find(({ meta }) => meta.line === line).x[at]);
    onSelect(asked.a, Math.max(0, step - 1));
  }

  function update(state) {
    locked = state.rows.filter((row) => row.locked);
    root.closest(".da-section").hidden = locked.length < 2;
    const names = new Map(locked.map((row) => [row.id, row.name]));
    const next = JSON.stringify([...names]);
    if (next === offered) return;
    offered = next;
    const chosen = [first.value, second.value];
    const kept = chosen[0] !== chosen[1] && chosen.every((id) => locked.some((row) => row.id === id));
    const pair = kept ? chosen : locked.slice(-2).map((row) => row.id);
    [first, second].forEach((box, at) => {
      box.replaceChildren(...locked.map((row) => el("option", { value: row.id }, names.get(row.id))));
      if (pair[at]) box.value = pair[at];
    });
    if (asked && ![asked.a, asked.b].every((id) => locked.some((row) => row.id === id))) {
      asked = null;
      drawn.show(null);
    }
  }

  return { update };
}
