// The studies that were made before: opened, renamed and deleted here. Asked for when the shelf is unfolded.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createRename, twice } from "../core/in_place.js";
import { plural, whenText } from "../runs/library_text.js";
import { toast } from "../core/toast.js";

const MOST = 120; // characters of a title

/** Create the shelf in `details`. `onOpen(id)`, `onRenamed(id, title)`, `onForgotten(id)` and `onRestored()` are told. */
export function createShelf(details, { server, operation, onOpen, onRenamed, onForgotten, onRestored }) {
  const list = el("ul", { class: "da-shelf-list" });
  const note = el("p", { class: "da-caption" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  details.append(problem, note, list);
  const lines = new Map();
  let studies = null;
  let ticket = 0;
  let shown = null;
  details.addEventListener("toggle", () => details.open && refresh());

  /** Ask anew, where the shelf is open. */
  async function refresh() {
    if (!details.open) return;
    const mine = ++ticket;
    if (!studies) say(note, "Looking…");
    try {
      const answer = await ask(server, "studies", { operation });
      if (mine !== ticket) return;
      studies = answer.studies;
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
    const all = studies ?? [];
    say(note, all.length ? "Their runs are in the Library. A study that is deleted goes to the Trash there; its runs stay." : studies ? "There is none yet. Every study is kept here, with its runs in the Library." : "");
    const ids = all.map(({ id }) => id);
    for (const [id, line] of lines) {
      if (ids.includes(id)) continue;
      line.node.remove();
      lines.delete(id);
    }
    all.forEach((study, at) => {
      if (!lines.has(study.id)) lines.set(study.id, createLine(study.id, { onOpen, rename, forget }));
      const line = lines.get(study.id);
      line.update(study, study.id === shown);
      if (list.children[at] !== line.node) list.insertBefore(line.node, list.children[at] ?? null);
    });
  }

  /** Tell which study is in sight. */
  function mark(id) {
    if (id === shown) return;
    shown = id;
    if (studies) draw();
  }

  async function rename(id, title) {
    const before = studies.find((study) => study.id === id);
    put({ ...before, title });
    try {
      await ask(server, "rename_study", { id, title });
      complain("");
      onRenamed(id, title);
    } catch (error) {
      put(before);
      complain(error.message);
    }
  }

  async function forget(id) {
    const { title } = studies.find((study) => study.id === id);
    try {
      await ask(server, "forget_study", { id });
      complain("");
      studies = studies.filter((study) => study.id !== id);
      onForgotten(id);
      toast(`“${title}” moved to the Trash.`, { act: { label: "Undo", run: () => restore(id) } });
    } catch (error) {
      complain(error.message);
    }
    draw();
  }

  async function restore(id) {
    try {
      await ask(server, "restore_study", { id });
      onRestored();
    } catch (error) {
      toast(error.message);
    }
    refresh();
  }

  function put(study) {
    studies = studies.map((each) => (each.id === study.id ? study : each));
    draw();
  }

  return { refresh, mark };
}

function createLine(id, { onOpen, rename, forget }) {
  let study = null;
  const button = (className, text, onclick) => el("button", { type: "button", class: `da-plain ${className}`, onclick }, text);
  const thumb = el("span", { class: "da-shelf-thumb", "aria-hidden": "true" });
  const title = el("button", { type: "button", class: "da-shelf-title", dir: "auto", onclick: () => onOpen(id) });
  const facts = el("p", { class: "da-shelf-facts" });
  const naming = button("da-shelf-rename", "Rename", createRename(title, { label: "Title of the study", most: MOST, read: () => study.title, onName: (next) => rename(id, next) }));
  const remove = button("da-shelf-delete", "Delete");
  const sure = twice(remove, "Delete", "Sure?", () => forget(id));
  const node = el("li", { class: "da-shelf-line", "data-id": id }, thumb, el("div", { class: "da-shelf-text" }, title, facts), el("div", { class: "da-shelf-acts" }, naming, remove));

  function update(next, shown) {
    if (next.thumb !== study?.thumb || !study) thumb.replaceChildren(...(next.thumb ? [el("img", { src: next.thumb, alt: "", loading: "lazy" })] : []));
    study = next;
    say(title, study.title);
    title.setAttribute("aria-label", `Open ${study.title}`);
    naming.setAttribute("aria-label", `Rename ${study.title}`);
    sure.label(`Delete ${study.title}`);
    node.classList.toggle("da-active", shown);
    const done = study.done === study.cells ? plural(study.cells, "cell") : `${study.done} of ${plural(study.cells, "cell")}`;
    const told = [done, study.status === "complete" ? null : study.status, whenText(study.created), shown ? "in sight" : null];
    say(facts, study.error ?? told.filter(Boolean).join(" · "));
  }

  return { node, update };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
