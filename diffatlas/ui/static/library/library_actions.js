// What can be done with the runs that are selected: a bar at the foot of the page while there are any.

import { el } from "../core/dom.js";
import { createExportRow, singleKinds } from "../form/exports.js";
import { plural, titleOf } from "../runs/library_text.js";

const SURE_FOR = 3000; // ms in which a second press counts

/** Create the bar in `root`; `acts` are the functions open, attention, compare, explore, dataset, trash(event) and none. */
export function createActions(root, { server, kinds, acts }) {
  const count = el("span", { class: "da-actions-count", role: "status" });
  const button = (name, text, act, about = null) => el("button", { type: "button", class: `da-button da-act-${name}`, onclick: act, title: about }, text);
  const open = button("open", "Open in Trajectory", () => acts.open());
  const compare = button("compare", "Compare", () => acts.compare(), "What differs between two runs");
  const explore = button("explore", "Explore around", () => acts.explore(), "The neighbourhood of a run’s noise, or the way between the noise of two");
  const attention = button("attention", "Attention", () => acts.attention(), "What each word of the prompt looked at; two runs are compared");
  const exporting = button("export", "Export", unfold);
  const dataset = button("dataset", "Dataset…", () => acts.dataset(), "Write a Hugging Face dataset, or push one to the Hub");
  const trash = button("trash", "Delete", remove);
  const none = el("button", { type: "button", class: "da-plain da-act-none", onclick: () => acts.none() }, "Select none");
  const files = el("div", { class: "da-actions-files", id: "da-actions-files", hidden: "" });
  const row = createExportRow(files, { server, kinds });
  const bar = el(
    "section",
    { class: "da-actions-bar", "aria-label": "Selected runs", hidden: "" },
    files,
    el("div", { class: "da-actions-row" }, count, open, attention, compare, explore, exporting, dataset, trash, none),
  );
  exporting.setAttribute("aria-controls", files.id);
  exporting.setAttribute("aria-expanded", "false");
  root.append(bar);

  let runs = [];
  let timer = 0;

  function unfold() {
    files.hidden = !files.hidden;
    exporting.setAttribute("aria-expanded", String(!files.hidden));
  }

  // A delete can be undone; of locked runs it asks once more all the same.
  function remove(event) {
    const locked = runs.filter((run) => run.locked).length;
    if (!locked || timer) {
      calm();
      acts.trash(event);
      return;
    }
    trash.textContent = `${locked} locked: delete?`;
    trash.classList.add("da-sure");
    timer = setTimeout(calm, SURE_FOR);
  }

  function calm() {
    clearTimeout(timer);
    timer = 0;
    trash.textContent = "Delete";
    trash.classList.remove("da-sure");
  }

  function update(next) {
    const same = next.length === runs.length && next.every((run, at) => run.id === runs[at].id);
    runs = next;
    if (!same) calm();
    bar.hidden = !runs.length;
    if (bar.hidden && !files.hidden) unfold();
    const text = `${plural(runs.length, "run")} selected`;
    if (count.textContent !== text) count.textContent = text;
    compare.disabled = runs.length !== 2;
    explore.disabled = runs.length > 2;
    attention.hidden = !runs.some((run) => run.attention);
    attention.disabled = runs.length > 2 || !runs.every((run) => run.attention);
    explore.textContent = runs.length === 2 ? "Explore between" : "Explore around";
    const single = singleKinds(kinds);
    const limit = runs.length > 1 && single ? ` ${single} ${single.includes(" and ") ? "hold" : "holds"} one run only.` : "";
    row.offer(runs.map((run) => run.id), runs.length === 1 ? runs[0].id : null, `A file of ${runs.length === 1 ? "this run" : `these ${runs.length} runs`}.${limit}`, runs.map(titleOf));
  }

  return { update };
}
