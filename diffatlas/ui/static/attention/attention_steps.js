// Words by steps: how much each word is read at each (diffatlas/figures/attention_words.py).

import { createAttentionFigure } from "./attention_figure.js";
import { el, isDark } from "../core/dom.js";

/** Create the matrix; `onGo(position)` is called for a step, and `store` told of a word. */
export function createSteps({ store, onGo, createFigure }) {
  const redraw = () => store.set({});
  const byRow = el("select", { class: "da-select", onchange: redraw }, el("option", { value: "" }, "of all words together"), el("option", { value: "row" }, "of each word by itself"));
  const specials = el("input", { type: "checkbox", onchange: redraw });
  const figure = createAttentionFigure({ createFigure, onGo, onWord: store.choose });
  const controls = el("div", { class: "da-attention-controls" }, el("label", { class: "da-field" }, el("span", {}, "Colours"), byRow), el("label", { class: "da-field" }, specials, el("span", {}, "beginning, end and padding too")));
  const note = el("p", { class: "da-caption" });
  const node = el("div", {}, controls, figure.node, note);
  let last = null; // {id, figure}: what was drawn last

  function update(state) {
    if (!state.data) return;
    const attends = Boolean(state.data.activation);
    controls.hidden = !attends;
    if (!attends) {
      figure.update(null, state);
      note.textContent = "Attention to words was not captured in this run.";
      return;
    }
    const found = store.want("attention_words", { id: state.id, ...store.look(), dark: isDark(), special: specials.checked, by_row: byRow.value === "row" });
    // Of another look at the same run, what is there stays until that has come.
    if (found.value) last = { id: state.id, figure: found.value };
    figure.update(last?.id === state.id ? last.figure : null, state);
    note.textContent = found.error ?? (figure.node.hidden ? "Drawing…" : "Choose a square to go to its step, and to its word.");
  }

  return { node, update };
}
