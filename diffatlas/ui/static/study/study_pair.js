// Two cells of a neighbourhood beside each other: their pictures, what they are, and numbers of the two.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { calledOf, imageOf, pairs, thumb } from "./study_basins.js";

/**
 * Two cells beside each other: `node`, and `show(state, [key, key] or null, [[name, value]], what they are or
 * null)`. Their pictures choose them; `hint` says how to come by others.
 */
export function createPair({ onSelect, hint }) {
  const shots = el("div", { class: "da-pair-shots" });
  const words = el("p", { class: "da-pair-words", "aria-live": "polite" });
  const numbers = el("dl", { class: "da-numbers" });
  const node = el("div", { class: "da-pair-card" }, shots, el("div", {}, words, numbers, el("p", { class: "da-pair-hint" }, hint)));
  let shown = null;

  function show(state, keys, values, kind) {
    const next = JSON.stringify([keys, values, kind, keys?.map((key) => imageOf(state.cells, key))]);
    if (next === shown) return;
    shown = next;
    shots.hidden = !keys;
    if (!keys) {
      shots.replaceChildren();
      words.textContent = "";
      numbers.replaceChildren();
      return;
    }
    const lane = state.measures.lanes[state.lane];
    const name = (key) => lane.names?.[lane.cells.indexOf(key)] ?? null;
    shots.replaceChildren(
      ...keys.map((key) =>
        el("button", { type: "button", class: "da-pair-shot", "aria-label": `Choose ${calledOf(state.study, key)}`, onclick: () => onSelect(key) }, thumb(state.cells, key), el("span", { class: "da-pair-name" }, cap(calledOf(state.study, key))), name(key) ? el("span", { class: "da-pair-shows" }, name(key)) : null),
      ),
    );
    const [a, b] = keys.map((key) => calledOf(state.study, key));
    words.textContent = keys[0] === keys[1] ? `${cap(a)} and itself` : `${cap(a)} and ${b}${kind ? `: ${kind}` : ""}`;
    numbers.replaceChildren(...pairs(values.map(([label, value]) => [label, significant(value, 3)])));
  }

  return { node, show };
}

const cap = (text) => text.charAt(0).toUpperCase() + text.slice(1);
