// Files of a study as a whole, files of its runs, and its runs as layers of the Trajectory page.

import { ask } from "./ask.js";
import { el } from "./dom.js";
import { createExportRow, download } from "./exports.js";
import { plural } from "./library_text.js";
import { openRun } from "./pages.js";
import { isBusy, NOUN, told } from "./study_words.js";

/** Create both rows in `root`; `studyKinds` are {key, label, about}, `kinds` those of runs. */
export function createStudyExports(root, { server, kinds, studyKinds }) {
  const message = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const whole = el("p", { class: "da-caption" });
  const preparing = new Set();
  const buttons = new Map(
    studyKinds.map((kind) => [kind.key, el("button", { type: "button", class: "da-button", "data-study-kind": kind.key, title: kind.about, onclick: () => fetch(kind) }, kind.label)]),
  );
  const single = el("div", { class: "da-exports-runs" });
  const layers = el("button", { type: "button", class: "da-button da-as-layers", onclick: toLayers, title: "Show the runs of these cells as layers on the Trajectory page" }, "Open as layers");
  root.append(el("div", { class: "da-export-row" }, ...buttons.values()), message, whole, single);
  const row = createExportRow(single, { server, kinds });
  single.querySelector(".da-export-row").prepend(layers);
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
    enable();
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
    enable();
  }

  function complain(text) {
    message.textContent = text;
    message.hidden = false;
  }

  function enable() {
    for (const [key, button] of buttons) if (!preparing.has(key)) button.disabled = !can;
    layers.disabled = !ids.length;
  }

  function update(state) {
    const { study, cells } = state;
    const done = (study?.cells ?? []).filter(({ key }) => told(cells, key).status === "complete");
    const runs = [...new Set(done.map(({ key }) => told(cells, key).run).filter(Boolean))];
    const chosen = told(cells, state.cell).run;
    id = study?.id ?? null;
    ids = runs;
    can = done.length > 0 && !isBusy(state.value.status);
    enable();
    const noun = NOUN[study?.operation] ?? "study";
    const words = !study ? "What a study leaves behind can be taken away from here, once there is one." : can ? `The whole ${noun}: ${plural(done.length, "cell")}, what was measured, and how it is defined.` : `The whole ${noun} can be exported once its cells have ended.`;
    if (whole.textContent !== words) whole.textContent = words;
    const one = runs.includes(chosen) ? chosen : (runs.at(-1) ?? null);
    single.hidden = !runs.length;
    row.offer(runs, one, runs.length > 1 ? `The ${runs.length} runs of its cells. What holds one run only takes ${runs.includes(chosen) ? "the chosen cell" : "the last cell"}.` : "The run of its cell.");
  }

  return { update };
}
