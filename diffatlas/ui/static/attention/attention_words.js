// The prompt as words to choose from. A word's tokens are one word; the beginning, the end and padding come on request.

import { el } from "../core/dom.js";

/**
 * The words of a token table, in order: [{key, text, indices, kind}], `kind` "word", "mark" (punctuation) or "special"
 * (the beginning, the end, padding, positions whose text is not known). A word has its tokens in all text encoders;
 * equal specials in a row are one.
 */
export function wordsOf(tokens) {
  const words = new Map();
  const groups = [];
  let before = null;
  for (const token of tokens) {
    if (token.word !== null && token.word !== undefined && !token.special) {
      if (!words.has(token.word)) {
        const group = { key: `word-${token.word}`, text: token.word_text ?? token.text, indices: [], kind: "word" };
        words.set(token.word, group);
        groups.push(group);
      }
      words.get(token.word).indices.push(token.index);
      before = null;
      continue;
    }
    const kind = token.special ? "special" : "mark";
    if (kind === "special" && before?.raw === token.text && before.encoder === token.encoder) {
      before.indices.push(token.index);
      continue;
    }
    before = { key: `token-${token.index}`, raw: token.text, encoder: token.encoder, text: token.text, indices: [token.index], kind };
    groups.push(before);
  }
  for (const group of groups) if (group.kind === "special") group.text = specialText(group);
  return groups;
}

function specialText({ raw, indices }) {
  const name = (raw ?? "").replace(/[<>|[\]]/g, "").trim() || "no text";
  return indices.length > 1 ? `${name} × ${indices.length}` : name;
}

/** The mean of `values` over the tokens of a word. */
function meanOver(values, indices) {
  return indices.reduce((sum, index) => sum + values[index], 0) / indices.length;
}

/** Whether a word is one of the `selected` token indices. */
export const isChosen = (group, selected) => group.indices.every((index) => selected.includes(index));

/**
 * Create the words. `onSelect(indices)` is called with the token indices of the words that are chosen: one by a
 * click, several by clicks with Ctrl, Command or Shift.
 */
export function createWords({ onSelect }) {
  const list = el("div", { class: "da-words-list", role: "group", "aria-label": "The words of the prompt" });
  const toggle = el("button", { type: "button", class: "da-plain da-words-specials", "aria-pressed": "false" });
  const node = el("div", { class: "da-words" }, list, toggle);
  let specials = false;
  let state = null;
  let drawn = null;
  let chips = [];

  toggle.addEventListener("click", () => {
    specials = !specials;
    drawn = null;
    update(state);
  });

  function choose(group, event) {
    const several = event.ctrlKey || event.metaKey || event.shiftKey;
    const { selected } = state;
    if (!several) return onSelect(group.indices);
    const kept = isChosen(group, selected) ? selected.filter((index) => !group.indices.includes(index)) : [...selected, ...group.indices];
    return kept.length ? onSelect(kept) : null;
  }

  function build(tokens) {
    const groups = wordsOf(tokens);
    const there = groups.filter((group) => specials || group.kind !== "special");
    const all = there.length ? there : groups;
    chips = all.map((group) => {
      const bar = el("span", { class: "da-word-bar", "aria-hidden": "true" });
      const chip = el("button", { type: "button", class: `da-word da-word-${group.kind}`, dir: "auto", "data-word": group.key, onclick: (event) => choose(group, event) }, el("span", {}, group.text), bar);
      return { group, chip, bar };
    });
    list.replaceChildren(...chips.map(({ chip }) => chip));
    toggle.hidden = all.length === groups.length && !specials;
    toggle.textContent = specials ? "Words only" : "Beginning, end, padding too";
    toggle.setAttribute("aria-pressed", String(specials));
  }

  /**
   * `tokens`: as `Token.to_dict`; `selected`: indices of tokens; `weights`: of each token, for the bar under its word,
   * or null.
   */
  function update(next) {
    state = next;
    const { tokens, selected, weights } = next;
    if (tokens !== drawn) {
      drawn = tokens;
      build(tokens);
    }
    const values = weights && chips.map(({ group }) => meanOver(weights, group.indices));
    const most = values ? Math.max(...values, 1e-12) : 1;
    chips.forEach(({ group, chip, bar }, at) => {
      chip.setAttribute("aria-pressed", String(isChosen(group, selected)));
      bar.style.width = values ? `${(100 * values[at]) / most}%` : "0";
    });
  }

  return { node, update };
}
