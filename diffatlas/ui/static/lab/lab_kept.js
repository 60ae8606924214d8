// What a visitor's labs left behind: networks and drawings, to be opened, renamed and deleted.

import { el } from "../core/dom.js";
import { createRename } from "../core/in_place.js";
import { decodeShorts } from "./lab_canvas.js";
import { createMini } from "./lab_mini.js";
import { toast } from "../core/toast.js";

const MOST_NAME = 80;

/**
 * Create the section of what is kept. `call(name, asked)` asks the server; `onOpen(entry)` opens one; `onDeleted(id)`
 * and `onRestored(id)` are called when one was deleted, and when it is back.
 */
export function createKept({ palette, call, onOpen, onDeleted, onRestored }) {
  const title = el("h2", {}, "Kept");
  const list = el("ul", { class: "da-lab-kept-list" });
  const about = el("p", { class: "da-lab-about" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const node = el("section", { class: "da-lab-section da-lab-kept", "aria-label": "Kept" }, title, list, problem, about);
  const rows = new Map(); // id -> {node, update}
  let entries = [];
  let state = {};
  let asking = 0;

  async function ask(name, asked = {}) {
    const mine = ++asking;
    problem.hidden = true;
    try {
      const answer = await call(name, asked);
      if (mine === asking) take(answer);
      return true;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      return false;
    }
  }

  function take({ kept, expires }) {
    entries = kept;
    const until = expires ? ` They stay until a day after your last visit.` : "";
    title.textContent = kept.length ? `Kept (${kept.length})` : "Kept";
    about.textContent = kept.length ? until.trim() : `Networks that you train and targets that you draw are kept here by themselves.${until}`;
    about.hidden = !about.textContent;
    for (const entry of kept) if (!rows.has(entry.id)) rows.set(entry.id, createRow(entry.id));
    list.replaceChildren(...kept.map(({ id }) => rows.get(id).node));
    update(state);
  }

  function createRow(id) {
    const mini = createMini({ label: "", palette, radius: 1 });
    const name = el("button", { type: "button", class: "da-lab-kept-name", onclick: () => onOpen(entry) });
    const meta = el("span", { class: "da-lab-kept-meta" });
    const rename = el("button", { type: "button", class: "da-plain" }, "Rename");
    const drop = el("button", { type: "button", class: "da-plain", onclick: remove }, "Delete");
    const row = el("li", { class: "da-lab-kept-row" }, mini.node, el("div", { class: "da-lab-kept-words" }, name, el("div", { class: "da-lab-kept-acts" }, meta, rename, drop)));
    let entry = { id };
    let points = null;
    rename.addEventListener("click", createRename(name, { label: "Name", most: MOST_NAME, read: () => entry.name, onName: (next) => ask("lab_kept_rename", { id, name: next }) }));

    async function remove() {
      if (!(await ask("lab_kept_delete", { id }))) return;
      onDeleted(id);
      const restore = async () => (await ask("lab_kept_restore", { id })) && onRestored(id);
      toast(`“${entry.name}” was deleted.`, { act: { label: "Undo", run: restore }, focus: true });
    }

    return {
      node: row,
      update(next, { presets, extent, far, kept }) {
        entry = next;
        if (name.textContent !== entry.name) name.textContent = entry.name;
        name.title = entry.kind === "drawing" ? "Open this target" : "Open this network";
        name.disabled = rename.disabled = Boolean(entry.problem);
        const when = new Date(1000 * entry.changed).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
        meta.classList.toggle("is-problem", Boolean(entry.problem));
        meta.textContent = entry.problem || `${entry.kind === "drawing" ? "target" : "network"} · ${when}`;
        for (const [button, word] of [[rename, "Rename"], [drop, "Delete"]]) button.setAttribute("aria-label", `${word} ${entry.name}`);
        if (entry.id === kept) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
        const preset = presets?.find(({ name: of }) => of === entry.preset);
        points ??= preset?.points ?? (entry.points ? decodeShorts(entry.points, far) : null);
        if (points) mini.update(points, preset?.labels ?? entry.labels, extent);
      },
    };
  }

  function update(next) {
    state = next;
    if (!("presets" in state)) return;
    for (const entry of entries) rows.get(entry.id).update(entry, state);
  }

  return { node, update, load: () => ask("lab_kept") };
}

/** Create the sentence that says what became of the network that was in view before. `onBack(aside)`, `onKeep()`. */
export function createAside({ onBack, onKeep, onClose }) {
  const text = el("span", {});
  const back = el("button", { type: "button", class: "da-plain", onclick: () => onBack(shown) }, "Back to it");
  const keep = el("button", { type: "button", class: "da-plain", onclick: onKeep }, "Keep it now");
  const close = el("button", { type: "button", class: "da-plain", onclick: onClose }, "Close");
  const node = el("p", { class: "da-lab-aside", role: "status", hidden: "" }, text, back, keep, close);
  let shown = null;

  function update({ aside, unkept, status, step }) {
    shown = aside;
    // Of the network in view it matters more, as long as it can still be lost.
    const lost = unkept && !["waiting", "training"].includes(status);
    node.hidden = !lost && !aside;
    if (node.hidden) return;
    const words = lost ? `This ${step ? "network" : "target"} is not kept. ${unkept}` : aside.problem ? `“${aside.name}” is not kept. ${aside.problem}` : `“${aside.name}” is kept.`;
    if (text.textContent !== words) text.textContent = words;
    keep.hidden = !lost;
    back.hidden = close.hidden = Boolean(lost);
  }

  return { node, update };
}
