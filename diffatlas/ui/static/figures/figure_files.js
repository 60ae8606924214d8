// The buttons that keep a figure as a file.

import { el } from "../core/dom.js";

const FORMATS = ["svg", "png"];

/** Return them; `save(format)` writes a file, and `say(words)` is told why it could not. */
export function createFiles({ save, say, what = "this figure" }) {
  async function keep(format) {
    try {
      await save(format);
    } catch (error) {
      say(error.message);
    }
  }

  const button = (format) => el("button", { type: "button", class: "da-plain", title: `Keep ${what} as a ${format.toUpperCase()} file`, onclick: () => keep(format) }, format.toUpperCase());
  return el("span", { class: "da-figure-files" }, ...FORMATS.map(button));
}
