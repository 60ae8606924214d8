// The maps of all words side by side, at the chosen step.

import { createAttentionPicture } from "./attention_picture.js";
import { gridOf } from "./attention_film.js";
import { rangeOf, readMaps } from "./attention_store.js";
import { isChosen } from "./attention_words.js";
import { el } from "../core/dom.js";
import { significant } from "../core/format.js";

const SIDE = 128;
const MOST = 60;

/** Create the maps; `onSelect(indices)` is called for a word. */
export function createWordGrid({ store, onSelect }) {
  const list = el("div", { class: "da-attention-words" });
  const note = el("p", { class: "da-caption" });
  const node = el("div", {}, list, note);
  let cells = [];
  let drawn = "";

  function build(words) {
    cells = words.map((group) => {
      const picture = createAttentionPicture({ side: SIDE });
      picture.node.setAttribute("aria-hidden", "true");
      const value = el("span", { class: "da-attention-value" });
      const button = el("button", { type: "button", class: "da-attention-word", onclick: () => onSelect(group.indices) }, picture.node, el("span", { class: "da-attention-name", dir: "auto" }, group.text), value);
      return { group, picture, value, button };
    });
    list.replaceChildren(...cells.map(({ button }) => button));
  }

  function update(state) {
    const { data, step, share, scale, selected } = state;
    if (!data?.activation) {
      list.replaceChildren();
      drawn = "";
      return say(note, data ? "Attention to words was not captured in this run." : "");
    }
    const words = state.words.filter((group) => group.kind !== "special").slice(0, MOST);
    const shown = words.length ? words : state.words.slice(0, MOST);
    const key = `${state.id} ${shown.map((group) => group.key)}`;
    if (key !== drawn) {
      drawn = key;
      build(shown);
    }
    const found = store.want("words_at", { id: state.id, step: step.index, words: shown.map((group) => group.indices), ...store.look() }, readMaps);
    const maps = found.value;
    const full = store.want("step_picture", { id: state.id, step: step.index, image: 0 }).value?.picture;
    cells.forEach(({ group, picture, value, button }, k) => {
      const range = maps && (scale === "all" ? maps : rangeOf(maps.maps[k]));
      const map = maps && { map: maps.maps[k], rows: maps.rows, columns: maps.columns, low: range.low, high: range.high };
      picture.draw({ picture: full ?? step.preview ?? data.image, share, ...(map ?? gridOf(data)) });
      const activation = maps?.activation[k];
      value.textContent = significant(activation, 3);
      button.setAttribute("aria-pressed", String(isChosen(group, selected)));
      button.setAttribute("aria-label", `${group.text}, activation ${significant(activation, 3)}`);
    });
    const each = scale === "all" ? "All maps have one scale of colours" : "Each map has a scale of its own";
    return say(note, found.error ?? `Step ${step.index + 1}: where each word is read, over ${full || step.preview ? "what the model expects to draw" : "the finished image"}. ${each}; the number is the word’s activation.`);
  }

  return { node, update };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
