// The benches that were made before: opened, renamed and deleted here. Asked for when the shelf is unfolded.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createRename, twice } from "../core/in_place.js";
import { plural, whenText } from "../runs/library_text.js";
import { toast } from "../core/toast.js";

const MOST = 120; // characters of a title

/** Create the shelf in `details`. `onOpen(id)`, `onRenamed(id, title)` and `onForgotten(id)` are told. */
export function createBenchShelf(details, { server, onOpen, onRenamed, onForgotten }) {
  const list = el("ul", { class: "da-shelf-list" });
  const note = el("p", { class: "da-caption" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  details.append(problem, note, list);
  const lines = new Map();
  let benches = null;
  let ticket = 0;
  let shown = null;
  details.addEventListener("toggle", () => details.open && refresh());

  /** Ask anew, where the shelf is open. */
  async function refresh() {
    if (!details.open) return;
    const mine = ++ticket;
    if (!benches) say(note, "Looking…");
    try {
      const answer = await ask(server, "benches", {});
      if (mine !== ticket) return;
      benches = answer.benches;
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
    const all = benches ?? [];
    say(note, all.length ? "Their runs are in the Library. Deleting a bench leaves them there." : benches ? "There is none yet. Every bench is kept here, with its runs in the Library." : "");
    const ids = all.map(({ id }) => id);
    for (const [id, line] of lines) {
      if (ids.includes(id)) continue;
      line.node.remove();
      lines.delete(id);
    }
    all.forEach((bench, at) => {
      if (!lines.has(bench.id)) lines.set(bench.id, createLine(bench.id, { onOpen, rename, forget }));
      const line = lines.get(bench.id);
      line.update(bench, bench.id === shown);
      if (list.children[at] !== line.node) list.insertBefore(line.node, list.children[at] ?? null);
    });
  }

  /** Tell which bench is in sight. */
  function mark(id) {
    if (id === shown) return;
    shown = id;
    if (benches) draw();
  }

  async function rename(id, title) {
    const before = benches.find((bench) => bench.id === id);
    put({ ...before, title });
    try {
      await ask(server, "rename_bench", { id, title });
      complain("");
      onRenamed(id, title);
    } catch (error) {
      put(before);
      complain(error.message);
    }
  }

  async function forget(id) {
    const { title } = benches.find((bench) => bench.id === id);
    try {
      await ask(server, "forget_bench", { id });
      complain("");
      benches = benches.filter((bench) => bench.id !== id);
      onForgotten(id);
      toast(`“${title}” moved to the Trash.`, { act: { label: "Undo", run: () => restore(id) } });
    } catch (error) {
      complain(error.message);
    }
    draw();
  }

  async function restore(id) {
    try {
      await ask(server, "restore_bench", { id });
    } catch (error) {
      toast(error.message);
    }
    refresh();
  }

  function put(bench) {
    benches = benches.map((each) => (each.id === bench.id ? bench : each));
    draw();
  }

  return { refresh, mark };
}

function createLine(id, { onOpen, rename, forget }) {
  let bench = null;
  const button = (className, text, onclick) => el("button", { type: "button", class: `da-plain ${className}`, onclick }, text);
  const title = el("button", { type: "button", class: "da-shelf-title", dir: "auto", onclick: () => onOpen(id) });
  const facts = el("p", { class: "da-shelf-facts" });
  const naming = button("da-shelf-rename", "Rename", createRename(title, { label: "Title of the bench", most: MOST, read: () => bench.title, onName: (next) => rename(id, next) }));
  const remove = button("da-shelf-delete", "Delete");
  const sure = twice(remove, "Delete", "Sure?", () => forget(id));
  const node = el("li", { class: "da-shelf-line", "data-id": id }, el("div", { class: "da-shelf-text" }, title, facts), el("div", { class: "da-shelf-acts" }, naming, remove));

  function update(next, shown) {
    bench = next;
    say(title, bench.title);
    title.setAttribute("aria-label", `Open ${bench.title}`);
    naming.setAttribute("aria-label", `Rename ${bench.title}`);
    sure.label(`Delete ${bench.title}`);
    node.classList.toggle("da-active", shown);
    const done = bench.done === bench.cells ? plural(bench.cells, "image") : `${bench.done} of ${plural(bench.cells, "image")}`;
    const told = [done, bench.lanes.join(", "), bench.status === "complete" ? null : bench.status, whenText(bench.created), shown ? "in sight" : null];
    say(facts, bench.error ?? told.filter(Boolean).join(" · "));
  }

  return { node, update };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
