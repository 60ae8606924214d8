// Files of a study: one row of buttons, for the study as a whole or for the runs of its cells; and those as layers.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createExportRow, download } from "../form/exports.js";
import { plural } from "../runs/library_text.js";
import { openRun } from "../core/pages.js";
import { isBusy, nameOf, NOUN, told } from "../runs/study_words.js";

/** Create the row in `root`; `studyKinds` are {key, label, about}, `kinds` those of runs. */
export function createStudyExports(root, { server, kinds, studyKinds }) {
  const message = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const caption = el("p", { class: "da-caption" });
  const preparing = new Set();
  const buttons = new Map(
    studyKinds.map((kind) => [kind.key, el("button", { type: "button", class: "da-button", "data-study-kind": kind.key, title: kind.about, onclick: () => fetch(kind) }, kind.label)]),
  );
  const what = el("select", { class: "da-select da-export-what", onchange: draw });
  const [wholeOption, runsOption] = ["whole", "runs"].map((value) => what.appendChild(el("option", { value })));
  const layers = el("button", { type: "button", class: "da-plain da-as-layers", onclick: toLayers, title: "Show the runs of these cells as layers on the Trajectory page" }, "Open as layers");
  const whole = el("div", {}, el("div", { class: "da-export-row" }, ...buttons.values()), caption);
  const runs = el("div", { class: "da-exports-runs" });
  root.append(el("div", { class: "da-export-of" }, el("label", {}, "Files of ", what), layers), whole, runs, message);
  const row = createExportRow(runs, { server, kinds });
  let id = null;
  let ids = [];
  let can = false;

  async function fetch(kind) {
    const button = buttons.get(kind.key);
    preparing.add(kind.key);
    button.disabled = true;
    button.textContent = "Preparing…";
    message.hidden = true;
    try {
      const { url, name } = await ask(server, "study_export", { id, kind: kind.key });
      download(url, name);
    } catch (error) {
      complain(`${kind.label}: ${error.message}`);
    }
    preparing.delete(kind.key);
    button.textContent = kind.label;
    draw();
  }

  async function toLayers() {
    layers.disabled = true;
    message.hidden = true;
    try {
      await ask(server, "to_layers", { id, ids });
      openRun(ids);
    } catch (error) {
      complain(error.message);
    }
    draw();
  }

  function complain(text) {
    message.textContent = text;
    message.hidden = false;
  }

  function draw() {
    for (const [key, button] of buttons) if (!preparing.has(key)) button.disabled = !can;
    layers.disabled = !ids.length;
    runsOption.disabled = !ids.length;
    if (!ids.length) what.value = "whole";
    whole.hidden = what.value !== "whole";
    runs.hidden = !whole.hidden;
  }

  function update(state) {
    const { study, cells } = state;
    const done = (study?.cells ?? []).filter(({ key }) => told(cells, key).status === "complete");
    // Cells that ask the same share a run.
    const names = new Map(done.filter(({ key }) => told(cells, key).run).map((cell) => [told(cells, cell.key).run, nameOf(study, cell)]));
    const chosen = told(cells, state.cell).run;
    id = study?.id ?? null;
    ids = [...names.keys()];
    can = done.length > 0 && !isBusy(state.value.status);
    const noun = NOUN[study?.operation] ?? "study";
    write(wholeOption, `the whole ${noun}`);
    write(runsOption, ids.length === 1 ? "the run of its cell" : ids.length ? `the ${ids.length} runs of its cells` : "the runs of its cells");
    draw();
    write(caption, !study ? "What a study leaves behind can be taken away from here, once there is one." : can ? `The whole ${noun}: ${plural(done.length, "cell")}, what was measured, and how it is defined.` : `The whole ${noun} can be exported once its cells have ended.`);
    const one = names.has(chosen) ? chosen : (ids.at(-1) ?? null);
    row.offer(ids, one, ids.length > 1 ? `The ${ids.length} runs of its cells. What holds one run only takes “${names.get(one)}”, ${names.has(chosen) ? "the chosen cell" : "the last cell"}.` : "The run of its cell.", [...names.values()]);
  }

  return { update };
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
