// Words by steps: the matrix of token activation.

import { createMatrix } from "./attention_heat.js";
import { isChosen, meanOver } from "./attention_words.js";
import { el } from "../core/dom.js";
import { term } from "../core/tips.js";

/** Create the matrix; `onGo(position)` is called for a step, and `store` told of a word. */
export function createSteps({ store, onGo }) {
  const title = el("span", {}, term("activation", "Token activation"), " by word and step");
  const byRow = el("select", { class: "da-select", onchange: () => store.set({}) }, el("option", { value: "" }, "of all words together"), el("option", { value: "row" }, "of each word by itself"));
  const specials = el("input", { type: "checkbox", onchange: () => store.set({}) });
  let rows = [];
  const matrix = createMatrix({
    title,
    onChoose: (row, column) => {
      if (column !== null) onGo(column);
      if (row !== null) store.choose(rows[row].indices);
    },
  });
  const absent = el("p", { class: "da-caption" });
  const body = el("div", {}, el("div", { class: "da-attention-controls" }, el("label", { class: "da-field" }, el("span", {}, "Colours"), byRow), el("label", { class: "da-field" }, specials, el("span", {}, "beginning, end and padding too"))), matrix.node);
  const node = el("div", {}, body, absent);
  let made = null;

  function update(state) {
    const { data, at, selected } = state;
    body.hidden = !data.activation;
    absent.textContent = data.activation ? "" : "Attention to words was not captured in this run.";
    if (!data.activation) return;
    if (made?.data !== data || made.specials !== specials.checked) {
      rows = state.words.filter((group) => specials.checked || group.kind !== "special");
      const count = data.tokens.length;
      const values = new Float32Array(rows.length * data.steps.length);
      rows.forEach((row, k) => {
        data.steps.forEach((_, step) => {
          values[k * data.steps.length + step] = meanOver(data.activation.subarray(step * count, (step + 1) * count), row.indices);
        });
      });
      made = { data, specials: specials.checked, values };
    }
    const chosen = { rows: rows.flatMap((row, k) => (isChosen(row, selected) ? [k] : [])), column: at };
    matrix.update({ rows, columns: data.steps, values: made.values, byRow: byRow.value === "row", chosen, label: `Token activation: ${rows.length} words, ${data.steps.length} steps` });
  }

  return { node, update };
}
