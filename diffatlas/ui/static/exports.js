// Files of the visible layers, or of the one whose numbers are shown.

import { ask } from "./ask.js";
import { el } from "./dom.js";
import { tellApart } from "./state.js";

/** Create the row of buttons in `root`; `kinds` are {key, label, about, several}. */
export function createExports(root, { server, kinds }) {
  const buttons = new Map();
  const message = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const about = el("p", { class: "da-caption" });
  let ids = [];
  let active = null;

  for (const kind of kinds) {
    buttons.set(kind.key, el("button", { type: "button", class: "da-button", "data-kind": kind.key, title: kind.about, onclick: () => fetch(kind) }, kind.label));
  }
  root.append(el("div", { class: "da-export-row" }, ...buttons.values()), message, about);

  async function fetch(kind) {
    const button = buttons.get(kind.key);
    button.disabled = true;
    button.textContent = "Preparing…";
    message.hidden = true;
    try {
      const { url, name } = await ask(server, "export", { kind: kind.key, ids: kind.several ? ids : [active] });
      const link = el("a", { href: new URL(url, document.baseURI).href, download: name });
      document.body.append(link);
      link.click();
      link.remove();
    } catch (error) {
      message.textContent = `${kind.label}: ${error.message}`;
      message.hidden = false;
    }
    button.textContent = kind.label;
    button.disabled = !ids.length;
  }

  function update(state) {
    const ended = state.rows.filter((row) => !row.live && row.visible && row.data?.steps.length);
    ids = ended.map((row) => row.id);
    const one = ended.find((row) => row.id === state.active?.id) ?? ended.at(-1);
    active = one?.id ?? null;
    for (const button of buttons.values()) {
      if (button.textContent !== "Preparing…") button.disabled = !ids.length;
    }
    const whose = one && tellApart(ended).get(one.id);
    const single = kinds.filter((kind) => !kind.several).map((kind) => kind.label);
    const text = !ids.length
      ? "What a run leaves behind can be taken away from here, once there is one."
      : ids.length === 1
        ? `Exports “${whose}”.`
        : `Exports the ${ids.length} visible layers${single.length ? `; ${single.join(" and ")} export “${whose}”` : ""}.`;
    if (about.textContent !== text) about.textContent = text;
  }

  return { update };
}
