// Light, dark, or as the system is.

import { el } from "../core/dom.js";
import { createPart } from "./settings_part.js";

const LOOKS = [["light", "Light"], ["dark", "Dark"], ["system", "As the system"]];

export function createLooks() {
  const inputs = LOOKS.map(([value]) => el("input", { type: "radio", name: "da-look", value, onchange: () => window.diffatlasLook.choose(value) }));
  const choice = el("div", { class: "da-settings-radios", role: "radiogroup", "aria-label": "Looks" }, ...LOOKS.map(([, label], at) => el("label", {}, inputs[at], label)));
  const { node } = createPart("Looks", choice, el("p", { class: "da-settings-note" }, "Kept in this browser."));

  function look() {
    for (const input of inputs) input.checked = input.value === window.diffatlasLook.read();
  }

  window.addEventListener("diffatlas-look", look);
  return { node, look };
}
