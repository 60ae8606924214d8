// What models run on here, and which of the list would fit its memory.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { bytesText } from "../runs/library_text.js";
import { createPart, rows } from "./settings_part.js";

const DTYPES = { auto: "as the model and the device want", fp32: "fp32", fp16: "fp16", bf16: "bf16" };

export function createMachine(server) {
  const facts = el("div", {}, el("p", { class: "da-settings-note" }, "Looking at the device…"));
  const list = el("div", {});
  const about = el("p", { class: "da-settings-note" }, "What a model needs is the size of its weights on this device and a fifth more; what is free counts the model that would make room.");
  const { node, say } = createPart("This machine", facts, el("h3", {}, "Which models would fit"), list, about);

  async function look() {
    try {
      draw(await ask(server, "settings_machine", {}));
      say();
    } catch (error) {
      say(error.message);
    }
  }

  function draw({ device, dtype, free, total, models }) {
    const memory = el("code", {}, `${bytesText(free)} of ${bytesText(total)}`);
    facts.replaceChildren(rows([["Device", el("code", {}, device)], ["Models run in", el("code", {}, DTYPES[dtype] ?? dtype)], ["Memory that is free", memory]]));
    const body = el("tbody", {}, ...models.map(row));
    const head = el("tr", {}, ...["Model", "Needs", ""].map((text) => el("th", { scope: "col" }, text)));
    list.replaceChildren(el("table", { class: "da-settings-fits" }, el("thead", {}, head), body));
  }

  function row({ name, needed, fits, loaded }) {
    const words = loaded ? "loaded" : fits === null ? "not known" : fits ? "would fit" : "will not fit";
    const needs = needed === null ? "–" : bytesText(needed);
    return el("tr", { "data-fits": String(fits) }, el("th", { scope: "row" }, name), el("td", {}, el("code", {}, needs)), el("td", {}, words));
  }

  return { node, look };
}
