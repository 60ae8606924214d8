// The packs of the Bench page: those that come with the program and one's own, which are written here.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createRename, twice } from "../core/in_place.js";
import { remember, remembered } from "../core/remember.js";
import { toast } from "../core/toast.js";
import { plural } from "../runs/library_text.js";
import { createDrafts } from "./pack_drafts.js";
import { createEditor } from "./pack_editor.js";
import { createPackExport, createPackImport } from "./pack_files.js";
import { createPreview } from "./pack_preview.js";
import { createTaskForm } from "./pack_task_form.js";

const PAUSE = 350; // ms after what is typed
const MOST_NAME = 60;

/** Create the view in `root`. `onRun(name)` makes a kept pack that of the form. */
export function createPacks(root, { server, onRun }) {
  const drafts = createDrafts();
  const choice = el("select", { class: "da-select da-pack-choice", "aria-label": "Pack", onchange: () => choose(choice.value) });
  const fresh = button("New", () => begin(""));
  const taking = createPackImport(root, { server, onTaken: taken, onProblem: complain });
  const name = el("h3", { class: "da-pack-name", dir: "auto" });
  const stand = el("p", { class: "da-caption da-pack-stand", role: "status" });
  const save = button("Keep", keep, "da-button da-first da-pack-save");
  const run = button("Run it", () => onRun(doc.name));
  const out = createPackExport({ server, text: () => editor.text(), onProblem: complain });
  const rename = plain("Rename", createRename(name, { label: "Name of the pack", most: MOST_NAME, read: () => doc.name, onName: (to) => change("pack_rename", { name: doc.name, to }, `It is called ${to} now.`) }));
  const copy = plain("Duplicate", () => change("pack_copy", { name: doc.name }, "This is the second of it."));
  const remove = plain("Delete", forget);
  const back = plain("");
  const calm = twice(back, "Discard", "Sure?", revert);
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const fault = el("button", { type: "button", class: "da-pack-fault", hidden: "", onclick: () => at && editor.goTo(at) });
  const editor = createEditor({ label: "The pack as YAML or JSON", onInput: typed });
  const preview = createPreview({ onLine: editor.goTo, onSeeds: check });
  const form = createTaskForm({ onAdd: addTask });
  const fold = el("details", { class: "da-pack-fold" }, el("summary", {}, "Add a task without writing it"), form.node);
  const writing = el("div", { class: "da-pack-writing" }, editor.node, fault, fold);
  root.append(
    el("div", { class: "da-cards-bar" }, el("label", { class: "da-field" }, el("span", {}, "Pack"), choice), fresh, taking.node),
    problem,
    el("div", { class: "da-pack-head" }, name, el("div", { class: "da-pack-acts" }, save, run, out.node, rename, copy, remove, back)),
    stand,
    el("div", { class: "da-pack-columns" }, writing, preview.node),
  );

  let packs = null; // rows of the server, or null before they have come
  let doc = null; // what is in sight: {key, name: under which it is kept or null, text: as it was kept or begun, its version, title}
  let seen = null; // what the text says, as of the last time that it had no fault
  let at = null; // the line of the fault
  let timer = 0;
  let ticket = 0;
  let loading = false;

  const own = () => (packs ?? []).filter((pack) => pack.own);
  const isChanged = () => Boolean(doc) && drafts.get(doc.key) !== null;

  /** Tell that the view is in sight, or not. */
  function update({ view }) {
    if (view === "pack" && !packs && !loading) load();
  }

  async function load() {
    loading = true;
    try {
      take((await ask(server, "packs", {})).packs);
      complain("");
      const last = remembered("pack-in-sight", null, "");
      const draft = drafts.get(last) ?? drafts.all().at(-1);
      if (draft && !(draft.name && own().some((pack) => pack.name === last))) show({ key: draft.key, name: null, text: "", title: draft.title ?? "" }, draft.text);
      else if (own().some((pack) => pack.name === last)) await open(last);
      else if (own().length) await open(own()[0].name);
      else await begin("");
    } catch (error) {
      complain(error.message);
    }
    loading = false;
  }

  function take(rows) {
    packs = rows;
    offer();
  }

  // What can be chosen: what is not kept yet, what is, and what a new pack can begin from.
  function offer() {
    const unsaved = drafts.all().filter((draft) => !own().some((pack) => pack.name === draft.key));
    const group = (label, options) => (options.length ? el("optgroup", { label }, ...options) : null);
    const mine = own().map((pack) => el("option", { value: `own ${pack.name}` }, `${pack.name}${drafts.get(pack.name) ? " (changed)" : ""}`));
    const shipped = (packs ?? []).filter((pack) => !pack.own).map((pack) => el("option", { value: `from ${pack.name}` }, `${pack.title} (${plural(pack.prompts, "prompt")})`));
    const here = doc && !doc.name && !drafts.get(doc.key) ? [el("option", { value: `draft ${doc.key}` }, `${doc.title || "new"} (not kept)`)] : [];
    choice.replaceChildren(
      ...[
        group("Not kept yet", [...here, ...unsaved.map((draft) => el("option", { value: `draft ${draft.key}` }, `${draft.title || "new"} (not kept)`))]),
        group("Yours", mine),
        group("Begin a new one as", shipped),
      ].filter(Boolean),
    );
    choice.value = doc ? (doc.name ? `own ${doc.name}` : `draft ${doc.key}`) : "";
  }

  function choose(value) {
    const [kind, ...rest] = value.split(" ");
    const key = rest.join(" ");
    if (kind === "own") return open(key);
    if (kind === "from") return begin(key);
    const draft = drafts.get(key);
    if (draft) show({ key, name: null, text: "", title: draft.title ?? "" }, draft.text);
    return undefined;
  }

  /** Open a kept pack, with what was changed of it and is not kept. `stays`: it is in sight already. */
  async function open(of, stays = false) {
    try {
      const { text, version, large } = await ask(server, "pack_open", { name: of });
      const draft = drafts.get(of);
      complain("");
      show({ key: of, name: of, text, version: draft?.version ?? version, title: of, large }, draft?.text ?? text, stays);
    } catch (error) {
      complain(error.message);
      offer();
    }
  }

  /** Begin a new pack, as one that comes with the program, or from nothing. */
  async function begin(from) {
    try {
      const answer = await ask(server, "pack_open", { name: from });
      complain("");
      show({ key: drafts.fresh(), name: null, text: answer.text, title: answer.name }, answer.text);
    } catch (error) {
      complain(error.message);
      offer();
    }
  }

  function show(next, text, stays = false) {
    doc = next;
    if (!stays) seen = null;
    calm.calm();
    if (editor.text() !== text) editor.set(text);
    tellFault(null);
    remember("pack-in-sight", doc.key);
    offer();
    draw();
    if (!doc.large) check();
  }

  function typed(text) {
    if (doc.name && text === doc.text) drafts.drop(doc.key);
    else drafts.put({ key: doc.key, name: doc.name, text, version: doc.version, title: doc.title });
    draw();
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE);
  }

  /** Have the text read: its first fault, or what it says. */
  async function check() {
    clearTimeout(timer);
    const mine = ++ticket;
    try {
      const { fault: wrong, pack } = await ask(server, "pack_check", { text: editor.text(), seeds: preview.seeds() });
      if (mine !== ticket) return;
      tellFault(wrong);
      if (pack) {
        seen = pack;
        form.update(pack.tags.map(({ tag }) => tag));
        if (!doc.name && doc.title !== pack.name) retitle(pack.name);
      }
      preview.update(seen, Boolean(wrong));
      complain("");
    } catch (error) {
      if (mine === ticket) complain(error.message);
    }
    draw();
  }

  function retitle(title) {
    doc.title = title;
    const draft = drafts.get(doc.key);
    if (draft) drafts.put({ ...draft, title });
    offer();
  }

  function tellFault(wrong) {
    at = wrong?.line ?? null;
    editor.mark(at);
    fault.hidden = !wrong;
    fault.replaceChildren();
    if (wrong) fault.append(...(at === null ? [] : [el("b", {}, `Line ${at}: `)]), wrong.sentence);
  }

  async function keep() {
    const text = editor.text();
    const before = doc;
    save.disabled = true;
    try {
      const answer = await ask(server, "pack_keep", { text, instead: doc.name, version: doc.name ? doc.version : null });
      drafts.drop(before.key);
      take(answer.packs);
      if (doc === before) {
        // What was typed meanwhile is not kept yet.
        if (editor.text() !== text) drafts.put({ key: answer.name, name: answer.name, text: editor.text(), title: answer.name });
        await open(answer.name, true);
      }
      complain("");
      toast(`“${answer.name}” is kept.`);
    } catch (error) {
      complain(error.message);
    }
    draw();
  }

  async function change(call, asked, words) {
    try {
      const answer = await ask(server, call, asked);
      take(answer.packs);
      await open(answer.name);
      toast(words);
    } catch (error) {
      complain(error.message);
    }
  }

  async function forget() {
    const gone = doc;
    const draft = drafts.get(gone.key);
    try {
      const answer = await ask(server, "pack_delete", { name: gone.name });
      drafts.drop(gone.key);
      take(answer.packs);
      await (own().length ? open(own()[0].name) : begin(""));
      toast(`“${gone.name}” was deleted.`, { act: { label: "Undo", run: restore }, focus: true });
    } catch (error) {
      complain(error.message);
    }

    async function restore() {
      try {
        const answer = await ask(server, "pack_restore", { name: gone.name });
        if (draft) drafts.put(draft);
        take(answer.packs);
        await open(answer.name);
      } catch (error) {
        toast(error.message);
      }
    }
  }

  // Of a kept pack what was changed goes, of a new one all of it.
  function revert() {
    drafts.drop(doc.key);
    if (doc.name) show(doc, doc.text);
    else if (own().length) open(own()[0].name);
    else begin("");
  }

  async function addTask(task) {
    const { text, line } = await ask(server, "pack_task", { text: editor.text(), ...task });
    editor.set(text);
    typed(text);
    await check();
    editor.goTo(line);
  }

  function taken({ name: kept, text, packs: rows }) {
    take(rows);
    if (kept) {
      open(kept);
      toast(`“${kept}” is kept.`);
      return;
    }
    const key = drafts.fresh();
    drafts.put({ key, name: null, text, title: "" });
    show({ key, name: null, text: "", title: "" }, text);
    toast("The file has a fault, which is marked in its text: mend it, and keep it.");
  }

  function draw() {
    const changed = isChanged();
    write(name, doc?.title || "A new pack");
    writing.hidden = Boolean(doc?.large);
    if (doc?.large) preview.update(null, false);
    out.node.disabled = Boolean(doc?.large);
    write(stand, !doc ? "" : doc.large ? doc.large : !doc.name ? "A new pack that is not kept yet." : changed ? "Changed, and the changes are not kept yet." : "Kept in your library.");
    save.disabled = !doc || !fault.hidden || (Boolean(doc.name) && !changed);
    run.disabled = !doc?.name || changed;
    run.title = run.disabled ? "Keep it first: what is kept is run" : "";
    rename.disabled = copy.disabled = !doc?.name || changed;
    remove.hidden = !doc?.name;
    back.hidden = !changed;
    calm.label(doc?.name ? "Take the changes of this pack back" : "Throw this new pack away");
  }

  function complain(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  return { update };
}

const button = (text, onclick, className = "da-button") => el("button", { type: "button", class: className, onclick }, text);
const plain = (text, onclick = null) => el("button", { type: "button", class: "da-plain", ...(onclick ? { onclick } : {}) }, text);

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
