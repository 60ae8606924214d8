// Curves of a run's attention: how much its words are read, how spread it is, and when it moves
// (diffatlas/figures/attention_curves.py).

import { createAttentionFigure } from "./attention_figure.js";
import { el, isDark } from "../core/dom.js";

/** Create the curves; `onGo(position)` is called for a step, and `store` told of a word. */
export function createAttentionCurves({ store, onGo, createFigure }) {
  const figure = createAttentionFigure({ createFigure, onGo, onWord: store.choose });
  const note = el("p", { class: "da-caption" });
  const node = el("div", {}, figure.node, note);
  let last = null;

  function update(state) {
    if (!state.data) return;
    const found = store.want("attention_curves", { id: state.id, ...store.look(), dark: isDark() });
    // Of another look at the same run, what is there stays until that has come.
    if (found.value) last = { id: state.id, figure: found.value };
    figure.update(last?.id === state.id ? last.figure : null, state);
    note.textContent = found.error ?? (figure.node.hidden ? "Drawing…" : "Choose a point of a line to go to its step, and to its word.");
  }

  return { node, update };
}
