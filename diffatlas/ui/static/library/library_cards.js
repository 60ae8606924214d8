// The runs that were found, as cards or as lines: one element for each run, kept while it is on the page.

import { el } from "../core/dom.js";
import { endText, isWithoutSteps, plural, stepsText, titleOf, whenText } from "../runs/library_text.js";
import { padlock } from "../runs/padlock.js";

/** Create the list in `root`. `onOpen(id)`, `onPick(ids, picked)` and `onLock(id, locked)` are told. */
export function createCards(root, { onOpen, onPick, onLock, modelName }) {
  const cards = new Map();
  const list = el("ul", { class: "da-runs" });
  let order = [];
  let last = null; // the run that was picked last: Shift picks from there
  root.append(list);

  function pick(id, picked, range) {
    const from = order.indexOf(last);
    const to = order.indexOf(id);
    last = id;
    const ids = range && from >= 0 && to >= 0 ? order.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
    onPick(ids, picked);
  }

  function update({ rows, selected, view }) {
    order = rows.map((row) => row.id);
    const wanted = new Set(order);
    for (const [id, card] of cards) {
      if (wanted.has(id)) continue;
      card.node.remove();
      cards.delete(id);
    }
    for (const row of rows) {
      if (!cards.has(row.id)) cards.set(row.id, createCard(row.id, { onOpen, onLock, modelName, onPick: pick }));
      cards.get(row.id).update(row, selected.has(row.id));
    }
    const nodes = order.map((id) => cards.get(id).node);
    // Moving an element would take the focus from it.
    if (nodes.length !== list.children.length || nodes.some((node, at) => list.children[at] !== node)) list.replaceChildren(...nodes);
    list.dataset.view = view;
    list.classList.toggle("da-picking", selected.size > 0);
  }

  return { update };
}

function createCard(id, { onOpen, onPick, onLock, modelName }) {
  let run = null;
  let drawn = "";
  const box = el("input", { type: "checkbox", class: "da-check", onclick: (event) => onPick(id, box.checked, event.shiftKey) });
  const film = el("div", { class: "da-run-film", "aria-hidden": "true" });
  const open = el("button", { type: "button", class: "da-run-open", dir: "auto", onclick: () => onOpen(id) });
  const prompt = el("p", { class: "da-run-prompt", dir: "auto" });
  const facts = el("p", { class: "da-run-facts" });
  const told = el("p", { class: "da-run-told" });
  const marks = el("ul", { class: "da-tags", "aria-label": "Tags" });
  const lock = el("button", { type: "button", class: "da-run-lock", onclick: () => onLock(id, !run.locked) });
  const node = el(
    "li",
    { class: "da-run", "data-id": id },
    film,
    el("div", { class: "da-run-text" }, el("h3", {}, open), prompt, facts, told, marks),
    el("label", { class: "da-run-pick" }, box),
    lock,
  );

  function update(next, picked) {
    run = next;
    box.checked = picked;
    node.classList.toggle("da-picked", picked);
    const key = JSON.stringify(run);
    if (key === drawn) return;
    drawn = key;
    draw();
  }

  function draw() {
    const title = titleOf(run);
    node.dataset.status = run.status;
    open.textContent = title;
    open.title = title;
    box.setAttribute("aria-label", `Select ${title}`);
    prompt.textContent = run.name && run.prompt ? run.prompt : "";
    prompt.hidden = !prompt.textContent;
    film.replaceChildren(
      el("span", { class: "da-run-shot" }, run.thumb ? el("img", { src: run.thumb, alt: "", loading: "lazy", decoding: "async" }) : el("span", {}, run.unpictured ? "" : "no picture")),
      el("span", { class: "da-run-edge" }, el("span", {}, run.seed === null ? "–" : `▸${run.seed}`), el("span", {}, isWithoutSteps(run) ? "" : `${run.steps ?? 0}A`)),
    );
    const parts = [run.seed === null ? null : `seed ${run.seed}`, stepsText(run), modelName(run.model), run.attention ? "attention" : null, whenText(run.created)];
    facts.replaceChildren(...parts.filter(Boolean).map((part) => el("span", {}, part)));
    const words = [];
    if (run.status !== "complete") words.push(endText(run));
    told.textContent = words.join(" · ");
    told.hidden = !words.length;
    marks.replaceChildren(
      ...run.tags.map((tag) => el("li", { class: "da-tag", dir: "auto" }, tag)),
      ...(run.note ? [el("li", { class: "da-noted", title: excerpt(run.note) }, "note")] : []),
    );
    marks.hidden = !marks.children.length;
    lock.replaceChildren(padlock(run.locked));
    lock.setAttribute("aria-pressed", String(run.locked));
    lock.setAttribute("aria-label", `Lock ${title}`);
    lock.title = run.locked ? "Locked: it is kept when space runs out. Press to unlock." : "Lock: keep it when space runs out";
  }

  return { node, update };
}

function excerpt(note) {
  return note.length > 200 ? `${note.slice(0, 200)}… (${plural(note.length, "character")})` : note;
}
