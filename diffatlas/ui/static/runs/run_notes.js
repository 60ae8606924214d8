// What is said of a run beside its numbers, and the words that its model was taught, where the prompt had others.

import { el } from "../core/dom.js";
import { taught } from "../form/taught_words.js";

/** Create the notes of a run. `field` is the id of a prompt's field, which a word goes to when it is pressed; without
 * one the words are there to be read. `update(notes, known)` takes sentences and [kind, words] pairs. */
export function createRunNotes(field = null) {
  const node = el("div", { class: "da-run-notes", hidden: "" });
  let drawn = "";

  function update(notes, known) {
    const next = JSON.stringify([notes ?? [], known ?? []]);
    if (next === drawn) return;
    drawn = next;
    node.replaceChildren(...(notes ?? []).map((text) => el("p", { dir: "auto" }, text)), ...(known?.length ? [taught(known, field)] : []));
    node.hidden = !node.children.length;
  }

  return { node, update };
}
