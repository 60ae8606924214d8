// What was made before, studies or benches: opened, renamed and deleted here. Asked for when the shelf is unfolded.

import { el } from "../core/dom.js";
import { createRename, twice } from "../core/in_place.js";
import { plural, whenText } from "./library_text.js";
import { toast } from "../core/toast.js";

const MOST = 120; // characters of a title

/** Create the shelf in `details`. `kind` says what is on it: {noun, unit: what one has many of, kept: where their runs
 * are, none: that there is none, tells(item): what else is told of one, thumbs}; `list()`, `rename(id, title)`, `forget(id)`
 * and `restore(id)` ask the server. `onOpen(id)`, `onRenamed(id, title)`, `onForgotten(id)` and `onRestored()` are told. */
export function createShelf(details, { kind, list: listed, rename: renamed, forget: forgotten, restore: restored, onOpen, onRenamed, onForgotten, onRestored = () => {} }) {
  const list = el("ul", { class: "da-shelf-list" });
  const note = el("p", { class: "da-caption" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  details.append(problem, note, list);
  const lines = new Map();
  let items = null;
  let ticket = 0;
  let shown = null;
  details.addEventListener("toggle", () => details.open && refresh());

  /** Ask anew, where the shelf is open. */
  async function refresh() {
    if (!details.open) return;
    const mine = ++ticket;
    if (!items) say(note, "Looking…");
    try {
      const answer = await listed();
      if (mine !== ticket) return;
      items = answer;
      complain("");
    } catch (error) {
      if (mine !== ticket) return;
      complain(error.message);
    }
    draw();
  }

  function complain(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function draw() {
    const all = items ?? [];
    say(note, all.length ? kind.kept : items ? kind.none : "");
    const ids = all.map(({ id }) => id);
    for (const [id, line] of lines) {
      if (ids.includes(id)) continue;
      line.node.remove();
      lines.delete(id);
    }
    all.forEach((item, at) => {
      if (!lines.has(item.id)) lines.set(item.id, createLine(item.id, { kind, onOpen, rename, forget }));
      const line = lines.get(item.id);
      line.update(item, item.id === shown);
      if (list.children[at] !== line.node) list.insertBefore(line.node, list.children[at] ?? null);
    });
  }

  /** Tell which one is in sight. */
  function mark(id) {
    if (id === shown) return;
    shown = id;
    if (items) draw();
  }

  async function rename(id, title) {
    const before = items.find((item) => item.id === id);
    put({ ...before, title });
    try {
      await renamed(id, title);
      complain("");
      onRenamed(id, title);
    } catch (error) {
      put(before);
      complain(error.message);
    }
  }

  async function forget(id) {
    const { title } = items.find((item) => item.id === id);
    try {
      await forgotten(id);
      complain("");
      items = items.filter((item) => item.id !== id);
      onForgotten(id);
      toast(`“${title}” moved to the Trash.`, { act: { label: "Undo", run: () => restore(id) } });
    } catch (error) {
      complain(error.message);
    }
    draw();
  }

  async function restore(id) {
    try {
      await restored(id);
      onRestored();
    } catch (error) {
      toast(error.message);
    }
    refresh();
  }

  function put(item) {
    items = items.map((each) => (each.id === item.id ? item : each));
    draw();
  }

  return { refresh, mark };
}

function createLine(id, { kind, onOpen, rename, forget }) {
  let item = null;
  const button = (className, text, onclick) => el("button", { type: "button", class: `da-plain ${className}`, onclick }, text);
  const thumb = kind.thumbs ? el("span", { class: "da-shelf-thumb", "aria-hidden": "true" }) : null;
  const title = el("button", { type: "button", class: "da-shelf-title", dir: "auto", onclick: () => onOpen(id) });
  const facts = el("p", { class: "da-shelf-facts" });
  const naming = button("da-shelf-rename", "Rename", createRename(title, { label: `Title of the ${kind.noun}`, most: MOST, read: () => item.title, onName: (next) => rename(id, next) }));
  const remove = button("da-shelf-delete", "Delete");
  const sure = twice(remove, "Delete", "Sure?", () => forget(id));
  const node = el("li", { class: "da-shelf-line", "data-id": id }, thumb, el("div", { class: "da-shelf-text" }, title, facts), el("div", { class: "da-shelf-acts" }, naming, remove));

  function update(next, shown) {
    if (thumb && (next.thumb !== item?.thumb || !item)) thumb.replaceChildren(...(next.thumb ? [el("img", { src: next.thumb, alt: "", loading: "lazy" })] : []));
    item = next;
    say(title, item.title);
    title.setAttribute("aria-label", `Open ${item.title}`);
    naming.setAttribute("aria-label", `Rename ${item.title}`);
    sure.label(`Delete ${item.title}`);
    node.classList.toggle("da-active", shown);
    const done = item.done === item.cells ? plural(item.cells, kind.unit) : `${item.done} of ${plural(item.cells, kind.unit)}`;
    const told = [done, kind.tells?.(item), item.status === "complete" ? null : item.status, whenText(item.created), shown ? "in sight" : null];
    say(facts, item.error ?? told.filter(Boolean).join(" · "));
  }

  return { node, update };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
