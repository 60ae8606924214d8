// What is said of a run beside its numbers, and the words that its model was taught, where the prompt had others.

import { el } from "./dom.js";

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

function taught(known, field) {
  const word = (text) => (field ? el("button", { type: "button", class: "da-plain", onclick: () => put(field, text) }, text) : el("span", {}, text));
  return el(
    "details",
    { class: "da-taught" },
    el("summary", {}, "The words that it knows"),
    field ? el("p", {}, "Press one to put it at the end of the prompt.") : null,
    el("dl", {}, ...known.flatMap(([kind, words]) => [el("dt", {}, kind), el("dd", {}, ...words.flatMap((text) => [word(text), " "]))])),
  );
}

// As if it had been typed.
function put(field, text) {
  const input = document.querySelector(`#${field} textarea, #${field} input`);
  if (!input) return;
  const before = input.value.trimEnd();
  const prototype = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
  Object.getOwnPropertyDescriptor(prototype, "value").set.call(input, before ? `${before} ${text}` : text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}
