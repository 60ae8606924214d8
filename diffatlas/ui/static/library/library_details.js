// One run of the Library in full: picture, frames, settings, where it was made, its marks, and what to do with it.

import { ask } from "../core/ask.js";
import { createDialog } from "../core/dialog.js";
import { el } from "../core/dom.js";
import { createExportRow } from "../form/exports.js";
import { seedWords, sizeWords } from "../core/format.js";
import { givenPictures } from "../runs/given.js";
import { createNote, createTags } from "./library_marks.js";
import { createReplay } from "./library_replay.js";
import { createRoll } from "./library_roll.js";
import { facts } from "./library_table.js";
import { bytesText, endText, stepsText, titleOf, whenText } from "../runs/library_text.js";
import { copyLinkButton } from "../core/pages.js";
import { padlock } from "../runs/padlock.js";
import { createRunNotes } from "../runs/run_notes.js";

const MOST_NAME = 80;
const SMALL = 128; // px: smaller pictures are enlarged pixel by pixel
const REPLAYABLE = ["complete", "stopped", "partial", "failed"];

/** Create the dialog. `acts` are mark({id, ...}) (a promise of the row), open(ids), attention(id), trash(ids) and step(id, by). */
export function createDetails({ server, kinds, acts, modelName, knownTags }) {
  const view = createDialog("da-details");
  const { dialog } = view;
  let run = null;
  let answer = null;
  let asked = 0;
  let chosen = null; // the frame shown large; null is the image
  let renaming = null;

  const button = (name, text, onclick) => el("button", { type: "button", class: `da-button da-details-${name}`, onclick }, text);
  const earlier = button("earlier", "Previous", () => acts.step(run.id, -1));
  const later = button("later", "Next", () => acts.step(run.id, 1));
  view.acts.append(earlier, later);
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const large = el("div", { class: "da-details-large" });
  const roll = createRoll({ server });
  const browse = button("roll", "Browse full size", openRoll);
  const caption = el("p", { class: "da-details-caption", role: "status" });
  const strip = el("div", { class: "da-mini-film", role: "group", "aria-label": "Frames: the guess of the image after each step" });
  const said = el("p", { class: "da-details-status" });
  const opening = button("open", "Open in Trajectory", () => attempt(() => acts.open([run.id])));
  opening.classList.add("da-first");
  const attention = button("attention", "Attention", () => acts.attention(run.id));
  const lock = button("lock", "", () => attempt(() => mark({ locked: !run.locked })));
  const rename = button("rename", "Rename", editName);
  const link = copyLinkButton(() => (answer?.query ? { query: answer.query, id: run.id } : null), "da-button");
  const trash = button("trash", "Delete", (event) => acts.trash([run.id], event));
  const tags = createTags({ onChange: (next) => mark({ tags: next }), known: knownTags });
  const note = createNote({ onChange: (text) => mark({ note: text }) });
  const params = el("div", {});
  const given = el("div", {});
  const notes = createRunNotes();
  const made = el("div", {});
  const replay = createReplay({ server });
  const files = el("div", {});
  const exports = createExportRow(files, { server, kinds });
  const section = (name, title, ...children) => el("section", { class: `da-details-part da-part-${name}` }, el("h3", {}, title), ...children);
  const replaying = section("replay", "Replay", replay.root);
  view.body.append(
    problem,
    el(
      "div",
      { class: "da-details-columns" },
      el("div", { class: "da-details-pictures" }, large, el("div", { class: "da-details-under" }, caption, browse), strip),
      el(
        "div",
        { class: "da-details-beside" },
        said,
        el("div", { class: "da-details-row" }, opening, attention, lock, rename, link, trash),
        section("tags", "Tags", tags.root),
        section("note", "Note", note.root),
        section("settings", "Settings", params, given, notes.node),
      ),
    ),
    replaying,
    section("files", "Export", files),
    el("details", { class: "da-details-part da-made" }, el("summary", {}, "Where and how it was made"), made),
  );

  strip.addEventListener("keydown", (event) => {
    const frames = [...strip.children];
    const at = frames.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: frames.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = frames[Math.max(0, Math.min(frames.length - 1, to))];
    next.focus();
    choose(Number(next.dataset.step));
  });
  // The browser would leave the rename behind, and the note unsaved.
  dialog.addEventListener("close", () => {
    asked += 1;
    note.flush();
    renaming?.(false);
  });

  /** Show the row of a run at once, and ask for the rest. `place` says whether there is a run before and after it. */
  async function open(row, place) {
    if (run && run.id !== row.id) note.flush();
    renaming?.(false);
    run = row;
    answer = null;
    chosen = null;
    tags.show(run.tags);
    note.show(run.note);
    say("");
    made.replaceChildren();
    given.replaceChildren();
    notes.update([], []);
    strip.replaceChildren();
    dialog.setAttribute("aria-busy", "true");
    draw();
    walk(place);
    const mine = ++asked;
    view.open();
    try {
      const found = await ask(server, "details", { id: row.id });
      if (mine !== asked) return;
      answer = found;
      run = { ...run, ...found.run };
      tags.show(run.tags);
      drawAnswer();
    } catch (error) {
      if (mine === asked) say(error.message);
    }
    if (mine === asked) dialog.removeAttribute("aria-busy");
  }

  /** Take a row that has changed elsewhere. */
  function update(row) {
    if (!dialog.open || row.id !== run?.id) return;
    run = row;
    tags.show(run.tags);
    draw();
  }

  // A button that is disabled under the keyboard would lose it.
  function walk({ first, last }) {
    if (first && document.activeElement === earlier) later.focus();
    if (last && document.activeElement === later) earlier.focus();
    earlier.disabled = first;
    later.disabled = last;
  }

  const mark = (change) => acts.mark({ id: run.id, ...change });

  async function attempt(act) {
    say("");
    try {
      await act();
    } catch (error) {
      say(error.message);
    }
  }

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function draw() {
    if (!renaming) view.title.textContent = titleOf(run);
    const state = run.status === "complete" ? [] : [endText(run)];
    said.textContent = [...state, stepsText(run), whenText(run.created), bytesText(run.bytes)].filter(Boolean).join(" · ");
    attention.hidden = !run.attention;
    // What the link asks for is known once the run has been read.
    link.disabled = !answer?.query;
    lock.replaceChildren(padlock(run.locked), run.locked ? "Unlock" : "Lock");
    lock.setAttribute("aria-label", run.locked ? "Unlock: it may go when space runs out" : "Lock: it stays when space runs out");
    opening.disabled = run.status === "damaged" || run.status === "running";
    replay.show(run.id, REPLAYABLE.includes(run.status));
    replaying.hidden = !REPLAYABLE.includes(run.status);
    exports.offer([run.id], run.id, "Files of this run.");
    drawSettings();
    drawPicture();
  }

  function drawSettings() {
    const told = answer?.params ?? {};
    const size = sizeWords(run);
    const rows = [
      ["prompt", run.prompt],
      ["negative prompt", told.negative_prompt ?? run.negative_prompt],
      ["model", modelName(run.model)],
      ["seed", seedWords(run.seed).replace("seed ", "")],
      ["steps", run.total_steps],
      ["guidance", told.guidance_scale ?? run.guidance_scale],
      ["size", size],
      ["scheduler", told.scheduler ?? run.scheduler ?? "the model’s own"],
      ...(answer?.also ?? []),
    ];
    params.replaceChildren(facts(rows.filter(([, value]) => value !== null && value !== undefined && value !== "")));
  }

  function drawAnswer() {
    draw();
    made.replaceChildren(facts(answer.made, "da-facts-wide"));
    given.replaceChildren(...[givenPictures(answer.inputs)].filter(Boolean));
    notes.update(answer.notes, answer.known);
    strip.replaceChildren(
      ...(answer.frames ?? []).map((frame) =>
        el(
          "button",
          { type: "button", class: "da-mini-frame", "data-step": frame.index, tabindex: -1, "aria-label": `Step ${frame.index + 1}`, onclick: () => choose(frame.index === chosen ? null : frame.index) },
          el("img", { src: frame.preview, alt: "", loading: "lazy" }),
          el("span", {}, String(frame.index + 1)),
        ),
      ),
    );
    strip.hidden = !strip.children.length;
    if (strip.firstElementChild) strip.firstElementChild.tabIndex = 0;
  }

  function choose(step) {
    chosen = step;
    for (const frame of strip.children) {
      const is = Number(frame.dataset.step) === step;
      frame.setAttribute("aria-pressed", String(is));
      frame.tabIndex = is ? 0 : -1;
      if (is) frame.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    if (step === null && strip.firstElementChild) strip.firstElementChild.tabIndex = 0;
    drawPicture();
  }

  // Every guess in its order, and then what came of them.
  function openRoll() {
    const frames = answer.frames ?? [];
    const pictures = [...frames.map(({ index }) => ({ step: index })), ...Array.from({ length: answer.images }, (_, image) => ({ image }))];
    const at = frames.findIndex(({ index }) => index === chosen);
    roll.open(run, pictures, at >= 0 ? at : answer.images ? frames.length : pictures.length - 1);
  }

  function drawPicture() {
    browse.hidden = !answer || !(answer.images || answer.frames?.length);
    const frame = answer?.frames?.find((each) => each.index === chosen);
    const source = frame?.preview ?? answer?.image ?? answer?.frames?.at(-1)?.preview ?? run.thumb;
    const whole = answer?.image && !frame;
    caption.textContent = frame ? `Step ${frame.index + 1}: the guess of the image.` : whole || (!answer && run.status === "complete") ? "The finished image." : source ? "The last guess of the image." : "";
    if (!source) return large.replaceChildren(el("span", {}, answer ? "No picture was kept." : "…"));
    const shown = large.querySelector("img");
    if (shown?.getAttribute("src") === source) return null;
    const image = el("img", { src: source, alt: titleOf(run) });
    image.addEventListener("load", () => image.classList.toggle("da-pixels", image.naturalWidth <= SMALL));
    return large.replaceChildren(image);
  }

  function editName() {
    if (renaming) return;
    const input = el("input", { type: "text", class: "da-input da-name-input", maxlength: MOST_NAME, "aria-label": "Name of the run", placeholder: run.prompt, dir: "auto" });
    const { title } = view;
    input.value = run.name ?? "";
    renaming = (save) => {
      if (!renaming) return;
      renaming = null;
      const typed = input.value.trim();
      const focused = document.activeElement === input;
      title.textContent = titleOf(run);
      if (focused) rename.focus();
      if (save && typed !== (run.name ?? "")) attempt(() => mark({ name: typed }));
    };
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      // Else Enter would press the button that gets the focus, and Escape close the dialog.
      event.preventDefault();
      event.stopPropagation();
      renaming(event.key === "Enter");
    });
    input.addEventListener("blur", () => renaming?.(true));
    title.replaceChildren(input);
    input.focus();
    input.select();
  }

  /** What is typed and not saved yet, as a change of marks; null where there is nothing. */
  function unsaved() {
    if (!dialog.open || !run) return null;
    const typed = view.title.querySelector("input")?.value.trim();
    const found = { note: note.unsaved(), tags: tags.unsaved(), name: typed === undefined || typed === (run.name ?? "") ? null : typed };
    const changes = Object.entries(found).filter(([, value]) => value !== null);
    return changes.length ? { id: run.id, ...Object.fromEntries(changes) } : null;
  }

  return { open, update, unsaved, close: view.close, shown: () => (dialog.open ? run?.id : null) };
}
