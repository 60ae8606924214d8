// What the installation decides by its environment, and no page can change.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createPart, rows } from "./settings_part.js";

export function createVariables(server) {
  const list = el("div", {});
  const about = el("p", { class: "da-settings-note" }, "Decided by the environment of the server before it starts, and by no page. What was set is in bold; of keys only whether they are set.");
  const { node, say } = createPart("Environment", el("details", {}, el("summary", {}, "Variables and their values"), about, list));

  async function look() {
    try {
      const { variables } = await ask(server, "settings_variables", {});
      list.replaceChildren(rows(variables.map(row)));
      say();
    } catch (error) {
      say(error.message);
    }
  }

  function row({ name, value, about: words, given }) {
    const shown = el("code", {}, `${name} = ${value}`);
    return [given ? el("strong", {}, shown) : shown, words];
  }

  return { node, look };
}
