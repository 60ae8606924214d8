// Files of runs: one row of buttons, for the layers in sight as for what is chosen in the Library.

import { ask } from "./ask.js";
import { el } from "./dom.js";

/** Create the row of buttons in `root`; `kinds` are {key, label, about, several}. Nothing is offered at first. */
export function createExportRow(root, { server, kinds }) {
  const buttons = new Map();
  const message = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const about = el("p", { class: "da-caption" });
  const preparing = new Set();
  let ids = [];
  let one = null;

  for (const kind of kinds) {
    buttons.set(kind.key, el("button", { type: "button", class: "da-button", "data-kind": kind.key, title: kind.about, onclick: () => fetch(kind) }, kind.label));
  }
  root.append(el("div", { class: "da-export-row" }, ...buttons.values()), message, about);

  async function fetch(kind) {
    const button = buttons.get(kind.key);
    preparing.add(kind.key);
    button.disabled = true;
    button.textContent = "Preparing…";
    message.hidden = true;
    try {
      const { url, name } = await ask(server, "export", { kind: kind.key, ids: kind.several ? ids : [one] });
      download(url, name);
    } catch (error) {
      message.textContent = `${kind.label}: ${error.message}`;
      message.hidden = false;
    }
    preparing.delete(kind.key);
    button.textContent = kind.label;
    enable();
  }

  function enable() {
    for (const kind of kinds) {
      if (!preparing.has(kind.key)) buttons.get(kind.key).disabled = !(kind.several ? ids.length : one);
    }
  }

  /** Offer files of the runs `next`; kinds that hold one run take `single`, and are not to be had without it. */
  function offer(next, single, text) {
    ids = next;
    one = single ?? null;
    enable();
    if (about.textContent !== text) about.textContent = text;
  }

  offer([], null, "");
  return { offer };
}

/** Create the exports of the visible layers, or of the one whose numbers are shown. */
export function createExports(root, { server, kinds }) {
  const row = createExportRow(root, { server, kinds });

  function update(state) {
    const ended = state.rows.filter((layer) => !layer.live && layer.visible && layer.data?.steps.length);
    const one = ended.find((layer) => layer.id === state.active?.id) ?? ended.at(-1);
    const whose = one?.name;
    const single = singleKinds(kinds);
    const text = !ended.length
      ? "What a run leaves behind can be taken away from here, once there is one."
      : ended.length === 1
        ? `Exports “${whose}”.`
        : `Exports the ${ended.length} visible layers${single ? `; ${single} export “${whose}”` : ""}.`;
    row.offer(ended.map((layer) => layer.id), one?.id, text);
  }

  return { update };
}

/** The labels of the kinds that hold one run only, as words; empty where there is none. */
export function singleKinds(kinds) {
  return kinds.filter((kind) => !kind.several).map((kind) => kind.label).join(" and ");
}

/** Have the browser save a file that the server has made ready. */
export function download(url, name) {
  const link = el("a", { href: new URL(url, document.baseURI).href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
