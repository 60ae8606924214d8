// Files of runs: one row of buttons, for the layers in sight as for what is chosen in the Library.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { shortened } from "../core/format.js";

const MOST = 44; // letters of a name in a menu; what differs is at the end

/** Create the row of buttons in `root`; `kinds` are {key, label, about, most}, `most` null or how many runs a file of
 * the kind holds. Nothing is offered at first. Of more runs than two, those for a page of two are chosen below the row.
 */
export function createExportRow(root, { server, kinds }) {
  const buttons = new Map();
  const message = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const about = el("p", { class: "da-caption" });
  const paired = kinds.find((kind) => kind.most === 2);
  const pair = createPair(paired?.label ?? "");
  const preparing = new Set();
  let ids = [];
  let one = null;

  for (const kind of kinds) {
    buttons.set(kind.key, el("button", { type: "button", class: "da-button", "data-kind": kind.key, title: kind.about, onclick: () => fetch(kind) }, kind.label));
  }
  root.append(el("div", { class: "da-export-row" }, ...buttons.values()), message, about, ...(paired ? [pair.node] : []));

  async function fetch(kind) {
    const button = buttons.get(kind.key);
    preparing.add(kind.key);
    button.disabled = true;
    button.textContent = "Preparing…";
    message.hidden = true;
    try {
      const { url, name } = await ask(server, "export", { kind: kind.key, ids: of(kind) });
      download(url, name);
    } catch (error) {
      message.textContent = `${kind.label}: ${error.message}`;
      message.hidden = false;
    }
    preparing.delete(kind.key);
    button.textContent = kind.label;
    enable();
  }

  function of({ most }) {
    if (most === 1) return [one];
    return most === 2 && ids.length > 2 ? pair.chosen() : ids;
  }

  function enable() {
    for (const kind of kinds) {
      if (!preparing.has(kind.key)) buttons.get(kind.key).disabled = !(kind.most === 1 ? one : ids.length);
    }
  }

  /** Offer files of the runs `next`, which are called `names`; kinds that hold one run take `single`, and are not to be
   * had without it. */
  function offer(next, single, text, names = next) {
    ids = next;
    one = single ?? null;
    enable();
    pair.update(ids, names, one);
    if (about.textContent !== text) about.textContent = text;
  }

  offer([], null, "");
  return { offer };
}

// Which two of three or more a page shows that holds two beside each other.
function createPair(label) {
  const select = (which, other) => el("select", { class: "da-select", "aria-label": `The ${which} run of the ${label}`, onchange: () => apart(other()) });
  const first = select("first", () => second);
  const second = select("second", () => first);
  const count = el("span", {});
  const node = el("p", { class: "da-caption da-export-pair", hidden: "" }, count, first, " and ", second);
  let ids = [];
  let drawn = "";
  let before = [];

  const chosen = () => [first.value, second.value];

  // The two are two: where both would be one run, the other takes what this one showed before.
  function apart(other) {
    if (first.value === second.value) other.value = before.find((id) => id !== first.value) ?? ids.find((id) => id !== first.value);
    before = chosen();
  }

  function update(next, names, one) {
    ids = next;
    node.hidden = ids.length < 3;
    const key = JSON.stringify([ids, names]);
    if (key === drawn) return;
    drawn = key;
    const kept = chosen();
    const options = () => ids.map((id, at) => el("option", { value: id }, shortened(names[at], MOST)));
    first.replaceChildren(...options());
    second.replaceChildren(...options());
    if (ids.length < 3) return;
    count.textContent = `${label} shows two of the ${ids.length} beside each other: `;
    [first.value, second.value] = kept[0] !== kept[1] && kept.every((id) => ids.includes(id)) ? kept : usual(one);
    before = chosen();
  }

  // The one that is looked at, and the first, or else the last; in their order.
  function usual(one) {
    return one && one !== ids[0] ? [ids[0], one] : [ids[0], ids.at(-1)];
  }

  return { node, update, chosen };
}

/** Create the exports of the visible layers, or of the one whose numbers are shown. */
export function createExports(root, { server, kinds }) {
  const row = createExportRow(root, { server, kinds });

  function update(state) {
    const ended = state.rows.filter((layer) => !layer.live && layer.visible && (layer.data?.steps.length || layer.data?.image));
    const one = ended.find((layer) => layer.id === state.active?.id) ?? ended.at(-1);
    const whose = one?.name;
    const single = singleKinds(kinds);
    const text = !ended.length
      ? "What a run leaves behind can be taken away from here, once there is one."
      : ended.length === 1
        ? `Exports “${whose}”.`
        : `Exports the ${ended.length} visible layers${single ? `; ${single} export “${whose}”` : ""}.`;
    row.offer(ended.map((layer) => layer.id), one?.id, text, ended.map((layer) => layer.name));
  }

  return { update };
}

/** The labels of the kinds that hold one run only, as words; empty where there is none. */
export function singleKinds(kinds) {
  return kinds.filter((kind) => kind.most === 1).map((kind) => kind.label).join(" and ");
}

/** Have the browser save a file that the server has made ready. */
export function download(url, name) {
  const link = el("a", { href: new URL(url, document.baseURI).href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
