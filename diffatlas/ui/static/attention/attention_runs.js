// The runs that hold attention: which one is looked at, and which beside it.

import { el } from "../core/dom.js";
import { seedWords } from "../core/format.js";
import { whenText } from "../runs/library_text.js";

const KINDS = { cross: "words", self: "places", all: "words and places" };

/** Create the list; `onOpen(id)` and `onCompare(id)` are called for a run. */
export function createAttentionRuns({ onOpen, onCompare }) {
  const list = el("ul", { class: "da-attention-runs" });
  const note = el("p", { class: "da-caption" });
  const node = el("div", {}, list, note);
  let drawn = "";

  function update({ runs, id, other, data }) {
    const rows = runs ?? [];
    const key = JSON.stringify([rows.map((run) => run.id), id, other, Boolean(data?.activation)]);
    if (key !== drawn) {
      drawn = key;
      list.replaceChildren(...rows.map((run) => line(run, id, other, data)));
    }
    const text = runs === null ? "Looking for runs with attention…" : rows.length ? "Runs whose attention was captured, the newest first. They are in the Library too." : "";
    if (note.textContent !== text) note.textContent = text;
  }

  function line(run, id, other, data) {
    const shown = run.id === id;
    const facts = [seedWords(run.seed), run.guidance === null ? null : `guidance ${run.guidance}`, `${run.steps} steps`, run.model_name, KINDS[run.attention], whenText(run.created)];
    const compare = el("button", { type: "button", class: "da-plain", onclick: () => onCompare(run.id) }, run.id === other ? "Beside it" : "Compare");
    compare.hidden = shown || run.attention === "self" || !data?.activation;
    return el(
      "li",
      { class: `da-attention-run${shown ? " da-active" : ""}` },
      el("button", { type: "button", class: "da-attention-open", "aria-current": shown ? "true" : null, "aria-label": `Open ${run.title}, ${seedWords(run.seed)}`, onclick: () => onOpen(run.id) }, run.thumb ? el("img", { src: run.thumb, alt: "" }) : el("span", { class: "da-attention-nothumb" })),
      el("div", {}, el("button", { type: "button", class: "da-attention-title", dir: "auto", onclick: () => onOpen(run.id) }, run.title), el("p", {}, facts.filter(Boolean).join(" · "))),
      compare,
    );
  }

  return { node, update };
}
