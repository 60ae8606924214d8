// The words that a model was taught, to be read or put into a prompt.

import { el, setInput } from "../core/dom.js";

/** A fold with [kind, words] pairs. `field` is the id of a prompt's field, which a word goes to when it is pressed. */
export function taught(known, field) {
  const word = (text) => (field ? el("button", { type: "button", class: "da-plain", onclick: () => put(field, text) }, text) : el("span", {}, text));
  return el(
    "details",
    { class: "da-taught" },
    el("summary", {}, "The words that it knows"),
    field ? el("p", {}, "Press one to put it at the end of the prompt.") : null,
    el("dl", {}, ...known.flatMap(([kind, words]) => [el("dt", {}, kind), el("dd", {}, ...words.flatMap((text) => [word(text), " "]))])),
  );
}

function put(field, text) {
  const input = document.querySelector(`#${field} textarea, #${field} input`);
  if (!input) return;
  const before = input.value.trimEnd();
  setInput(input, before ? `${before} ${text}` : text);
}

/** Offer in each form the words of the model that it asks for. `words`: {model: {kind: words}} of those of this machine. */
export function initTaughtWords(words) {
  const drawn = new WeakMap();
  const draw = () => {
    for (const place of document.querySelectorAll(".da-form-words")) {
      const { backend = "local", model: asked } = window.diffatlasForms?.[place.dataset.page] ?? {};
      // Elsewhere a model of this name may be another one.
      const model = backend === "local" ? asked : null;
      if (drawn.get(place) === model) continue;
      drawn.set(place, model);
      const known = Object.entries(words[model] ?? {});
      place.replaceChildren(...(known.length ? [taught(known, `${place.dataset.page}-prompt`)] : []));
    }
  };
  window.addEventListener("diffatlas-form", draw);
  draw();
}
