// The list of layers, of runs or of studies: which is shown, which is kept, and which one is looked at.

import { el } from "../core/dom.js";
import { createRename, twice } from "../core/in_place.js";
import { RUN_LAYERS } from "./layer_words.js";
import { padlock } from "./padlock.js";
import { term, withTerms } from "../core/tips.js";

/**
 * Create the list in `root`. `onActivate(id)`; `onEdit({action, id, name, visible})`; `words` say what the layers are
 * (layer_words.js).
 */
export function createLayersPanel(root, { onActivate, onEdit, words = RUN_LAYERS }) {
  const rows = new Map();
  const list = el("ul", { class: "da-layer-list" });
  const empty = el("p", { class: "da-caption" }, ...withTerms(`A ${words.noun} that has ended becomes a {layer|layer}. {lock|Lock} it to keep it, and lay the next one over it.`));
  const replaced = el("p", { class: "da-caption" }, `The next ${words.noun} replaces this layer unless you lock it.`);
  const problem = el("p", { class: "da-problem", role: "alert" });
  const reset = el("button", { type: "button", class: "da-plain da-reset" }, "Reset");
  const sure = twice(reset, "Reset", "Remove all layers?", () => onEdit({ action: "reset" }));
  reset.setAttribute("aria-label", "Reset: remove all layers");
  root.append(list, empty, replaced, problem, reset);

  function update(state) {
    const ids = state.rows.map((row) => row.id);
    for (const [id, row] of rows) {
      if (ids.includes(id)) continue;
      row.node.remove();
      rows.delete(id);
    }
    for (const layer of state.rows) {
      if (!rows.has(layer.id)) rows.set(layer.id, createRow(layer.id, { onActivate, onEdit, words }));
      rows.get(layer.id).update(layer, layer.id === state.active?.id, capturedBy(state, layer));
    }
    const wanted = ids.map((id) => rows.get(id).node);
    // Moving a row would take the focus from it.
    if (wanted.some((node, at) => list.children[at] !== node)) list.replaceChildren(...wanted);
    empty.hidden = ids.length > 0;
    replaced.hidden = !state.rows.some((row) => !row.locked);
    problem.hidden = !state.problem;
    if (problem.textContent !== (state.problem ?? "")) problem.textContent = state.problem ?? "";
    reset.hidden = !state.rows.some((row) => !row.live);
    if (reset.hidden) sure.calm();
  }

  return { update };
}

function createRow(id, { onActivate, onEdit, words }) {
  let layer = null;
  const button = (className, text, onclick) => el("button", { type: "button", class: `da-plain ${className}`, onclick }, text);
  const swatch = el("span", { class: "da-layer-swatch", "aria-hidden": "true" });
  const name = el("button", { type: "button", class: "da-layer-name", onclick: () => onActivate(id), ondblclick: () => rename() });
  const toField = createRename(name, { label: "Name of the layer", most: words.most, read: () => layer.own, onName: (next) => onEdit({ action: "rename", id, name: next }) });
  const rename = () => layer.live || toField();
  const what = el("p", { class: "da-layer-what" });
  const share = el("span", {});
  const captured = el("p", { class: "da-layer-what", hidden: "" }, term("captured", "captured"), " ", share);
  const renaming = button("da-rename", "Rename", () => rename());
  const show = button("da-show", "", () => onEdit({ action: "show", id, visible: !layer.visible }));
  const lock = el("button", { type: "button", class: "da-lock", onclick: () => layer.locked || onEdit({ action: "lock", id }) });
  const remove = button("da-delete", "Delete");
  remove.title = words.remains;
  const sure = twice(remove, "Delete", "Sure?", () => onEdit({ action: "delete", id }), () => layer.locked);
  const node = el(
    "li",
    {
      class: "da-layer",
      "data-id": id,
      onclick: (event) => event.target.closest("button, input") || onActivate(id),
    },
    swatch,
    el("div", { class: "da-layer-text" }, name, what, captured),
    el("div", { class: "da-layer-acts" }, renaming, show, remove, lock),
  );

  function update(next, active, held) {
    const locked = layer?.locked;
    layer = next;
    node.classList.toggle("da-temporary", !layer.locked);
    node.classList.toggle("da-recorded", Boolean(layer.example));
    node.classList.toggle("da-hidden", !layer.visible);
    node.classList.toggle("da-active", active);
    node.style.setProperty("--da-layer", layer.colour ?? "var(--da-ink)");
    say(name, layer.name);
    name.title = active ? `${words.shown} Double-click to rename it.` : words.show;
    name.setAttribute("aria-pressed", String(active));
    say(what, words.describe(layer, active));
    captured.hidden = held === null;
    say(share, held === null ? "" : `${(100 * held).toFixed(held > 0.995 ? 1 : 0)}%`);
    say(show, layer.visible ? "Hide" : "Show");
    show.setAttribute("aria-label", `${layer.visible ? "Hide" : "Show"} ${layer.name}`);
    renaming.setAttribute("aria-label", `Rename ${layer.name}`);
    for (const part of [renaming, show, remove]) part.hidden = layer.live || Boolean(layer.example);
    if (layer.always) show.hidden = true;
    lock.disabled = layer.live;
    const told = layer.locked ? "Locked" : layer.live ? `Lock this layer once its ${words.noun} has ended` : "Lock this layer";
    if (locked !== layer.locked) lock.replaceChildren(padlock(layer.locked), el("span", { class: "da-lock-text" }, layer.locked ? "Locked" : "Lock"));
    lock.setAttribute("aria-label", told);
    lock.setAttribute("aria-disabled", String(layer.locked || layer.live));
    lock.title = layer.locked ? "Locked: it stays until you delete it" : told;
    sure.label(`Delete ${layer.name}`);
  }

  return { node, update };
}

// How much of a layer the common axes show, where there are axes and something to share them with.
function capturedBy({ view, projection, layers }, { id }) {
  if (view !== "pca" || layers.length < 2) return null;
  return layers.some((layer) => layer.id === id) ? (projection?.captured?.[id] ?? null) : null;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
