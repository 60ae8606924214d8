// The view of the runs: the live one as a value that grows (see run_view.py for its fields), and the layers, for
// which it asks the server. Everything shown is read from the runs, never from the form.

import { initCarry } from "../form/carry.js";
import { comeIntoView } from "../core/come_into_view.js";
import { initCompanions } from "../core/companions.js";
import { createCompare } from "./compare.js";
import { createCurves } from "../runs/curves.js";
import { createDeepDive } from "./deep_dive.js";
import { el } from "../core/dom.js";
import { createExports } from "../form/exports.js";
import { showFieldError } from "../form/field_error.js";
import { createFilm } from "../runs/film.js";
import { createFormNote } from "../form/form_note.js";
import { initFromPicture } from "../form/from_picture.js";
import { createGrowing } from "./growing.js";
import { initGuidanceValues } from "../form/guidance_values.js";
import { createHostedFinding } from "../runs/hosted_finding.js";
import { createInspector } from "../runs/inspector.js";
import { createLayersPanel } from "../runs/layers_panel.js";
import { createNumbers } from "../runs/numbers.js";
import { copyLinkButton, initPages, isHidden, linkedRun } from "../core/pages.js";
import { offerPython, pythonButton } from "../form/python_lines.js";
import { createPath } from "../runs/path3d.js";
import { createRunNotes } from "../runs/run_notes.js";
import { BUSY, SPACES, sentence } from "../core/state.js";
import { createStart } from "../form/start.js";
import { letStop } from "../form/stop_button.js";
import { createStore } from "./store.js";
import { createTabs } from "../core/tabs.js";
import { initTaughtWords } from "../form/taught_words.js";
import { initTips, labelFields } from "../core/tips.js";
import { initTour } from "../core/tour.js";

const FIELD_TERMS = {
  "field-prompt": "prompt",
  "field-negative_prompt": "negative_prompt",
  "field-model": "model",
  "field-seed": "seed",
  "field-num_inference_steps": "steps",
  "field-guidance_scale": "guidance",
  "field-size": "size",
  "field-scheduler": "scheduler",
  "field-previews": "previews",
  "field-guidance_method": "guidance_method",
  "field-attention": "cross_attention",
};

/** Mount the viewer in `element`.
 *
 * `read()` returns what Gradio told last of the live run; `server` has the functions of services.py, and tells what is
 * new of it; `props` has glossary and kinds. Returns a function to call when the value has changed.
 */
export function mount(element, read, server, props, onSubmit) {
  initPages();
  initCarry("field", onSubmit, props.request);
  initTour();
  initCompanions();
  initTips(props.glossary);
  initGuidanceValues();
  initTaughtWords(props.words);
  initFromPicture();
  labelFields(FIELD_TERMS);

  let state = null;
  let began = performance.now();
  let request = null;

  const store = createStore({ server, onChange: render, start: linkedRun() ? null : props.start });
  const growing = createGrowing({ server, idle: props.idle, onGrown: receive, pointed: () => SPACES.includes(state?.view) });
  const select = (id, index) => store.select(id, index);
  const open = (id, index, options) => {
    store.select(id, index);
    inspector.open(id, index, options);
  };
  const tabs = createTabs({
    panels: { film: "da-panel-film", pca: "da-panel-space", umap: "da-panel-space", curves: "da-panel-curves" },
    onView: store.show,
    onEvery: store.thumbnails,
    onFit: store.fitOn,
    onHome: () => path.home(),
  });
  const copy = copyLinkButton(() => shownRun());
  const python = pythonButton();
  const note = createFormNote("field", { request: props.request, schedulers: props.schedulers, onFill: (id) => onSubmit({ fill: id }) });
  const start = createStart(props.start, "field");
  const parts = layout(tabs, copy, python, note.node, start.node);
  offerPython("trajectory", () => {
    const run = shownRun();
    return run && { lines: run.python, title: `${run.prompt || "This run"} in Python` };
  });
  element.querySelector(".da-mount").replaceChildren(parts.root);

  const inspector = createInspector({ server, getState: () => state, onSelect: select });
  const film = createFilm(parts.film, { onSelect: open, onHistogram: (id, index) => open(id, index, { histogram: true }) });
  const path = createPath(parts.path, { onSelect: open });
  const curves = createCurves(parts.curves, { server, onSelect: select });
  const numbers = createNumbers(parts);
  const layers = createLayersPanel(parts.layers, { onActivate: store.activate, onEdit: store.edit });
  const compare = createCompare(parts.compare, { server, onSelect: select });
  const exports = createExports(parts.exports, { server, kinds: props.kinds ?? [] });
  const deep = createDeepDive(parts.deep, { server, onSelect: select });

  // The settings of what the headline tells of.
  function shownRun() {
    const { value, active } = state;
    return (BUSY.includes(value.status) && value.run) || active?.data?.run || null;
  }

  function render() {
    state = store.state();
    if (isHidden(state.view)) return store.show("film");
    const { root } = parts;
    root.dataset.status = state.value.status;
    root.dataset.view = state.view;
    root.classList.toggle("da-empty", !state.rows.length);
    tabs.update(state);
    showPanel(parts, state.view);
    updateStage();
    showFinding();
    numbers.update(state.active, state.rows.length > 1);
    layers.update(state);
    compare.update(state);
    exports.update(state);
    deep.update(state);
    start.update(state.example && !BUSY.includes(state.value.status));
    inspector.update(state);
    copy.hidden = !shownRun();
    python.hidden = copy.hidden;
    note.update(BUSY.includes(state.value.status) ? null : shownRun());
    say();
    return null;
  }

  // A hosted run has no path: what is known of it stands there. The other layers' paths stay in sight.
  function showFinding() {
    const run = shownRun();
    parts.finding.update(run);
    const paths = state.layers.some(({ data }) => data.steps.length);
    parts.root.classList.toggle("da-pathless", Boolean(run?.hosted) && !paths);
  }

  // A view that is out of sight catches up when it is shown.
  function updateStage() {
    if (state.view === "film") film.update(state);
    else if (state.view === "curves") curves.update(state);
    else path.update(state);
  }

  function update() {
    growing.told(read());
  }

  function receive(value) {
    const another = value.request !== request;
    request = value.request;
    if (another) began = performance.now();
    store.receive(value);
    if (another && value.status !== "idle" && !value.error && !(value.batch?.number > 1)) comeIntoView(parts.root);
    showFieldError(value.error);
    mark(value.status);
  }

  // What runs comes first; then a run that could not begin; then the layer that is being looked at.
  function say() {
    const { value, active } = state;
    const unbegun = !value.run && value.request;
    const told = BUSY.includes(value.status) || unbegun ? value : (active?.data ?? (active ? null : { ...value, ...(value.run ? { status: "idle" } : {}) }));
    const prompt = BUSY.includes(value.status) ? value.run?.prompt || value.prompt : (active?.data?.run?.prompt ?? active?.prompt ?? (unbegun ? value.prompt : ""));
    const seconds = (performance.now() - began) / 1000;
    const batch = told === value && BUSY.includes(value.status) && value.batch ? `Run ${value.batch.number} of ${value.batch.count} · ` : "";
    write(parts.headline, prompt ?? "");
    write(parts.status, told ? batch + sentence(told, seconds) : "");
    parts.status.classList.toggle("da-failed", told?.status === "failed");
  }

  setInterval(() => state && BUSY.includes(state.value.status) && say(), 500);
  parts.root.addEventListener("keydown", (event) => {
    if (!state?.selected || event.defaultPrevented || event.target.closest("input, textarea, select, dialog, [role=tab]")) return;
    const { id, index } = state.selected;
    const last = state.rows.find((row) => row.id === id).data.steps.length - 1;
    if (event.key === "ArrowRight") select(id, Math.min(last, index + 1));
    else if (event.key === "ArrowLeft") select(id, Math.max(0, index - 1));
    else if (event.key === "Escape") select(null, null);
    else return;
    event.preventDefault();
  });
  // Runs that were opened from the Library are layers now; the last of them is looked at.
  window.addEventListener("da-open", async (event) => {
    await store.refresh();
    store.activate(event.detail.ids.at(-1));
  });
  // A run may have begun before this module came: what Gradio tells of one says only that there is something to ask for.
  receive({ ...props.idle });
  update();
  store.refresh();
  return update;
}

// The Stop button is of use only while something runs.
function mark(status) {
  letStop("field-stop", BUSY.includes(status));
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function showPanel(parts, view) {
  parts.panels.film.hidden = view !== "film";
  parts.panels.space.hidden = !SPACES.includes(view);
  parts.panels.space.setAttribute("aria-labelledby", `da-tab-${view === "umap" ? "umap" : "pca"}`);
  parts.panels.curves.hidden = view !== "curves";
}

function layout(tabs, copy, python, note, start) {
  const section = (name, title, ...children) =>
    el("section", { class: `da-section da-section-${name}`, "aria-label": title }, el("h2", {}, title), ...children);
  const panel = (name, child) => el("div", { class: `da-panel da-panel-${name}`, id: `da-panel-${name}`, role: "tabpanel", "aria-labelledby": `da-tab-${name}`, hidden: "" }, child);
  const film = el("div", { class: "da-film" });
  const path = el("div", { class: "da-path" });
  const curves = el("div", { class: "da-curves" });
  const panels = { film: panel("film", film), space: panel("space", path), curves: panel("curves", curves) };
  const status = el("p", { class: "da-status", role: "status", "aria-live": "polite" });
  const headline = el("p", { class: "da-headline" });
  const picture = el("div", { class: "da-picture" });
  const table = el("dl", { class: "da-numbers" });
  const whose = el("p", { class: "da-whose", hidden: "" });
  const given = el("div", { class: "da-run-given" });
  const notes = createRunNotes("field-prompt");
  const finding = createHostedFinding();
  const layers = el("div", { class: "da-layers" });
  const compare = el("div", { class: "da-compare" });
  const exports = el("div", { class: "da-exports" });
  const deep = el(
    "details",
    { class: "da-deep" },
    el("summary", {}, el("span", { class: "da-deep-head" }, "Deep dive"), el("span", { class: "da-deep-about" }, "every step in numbers, and where the latents change")),
  );
  const root = el(
    "div",
    { class: "da-viewer" },
    el("div", { class: "da-masthead" }, headline, el("div", { class: "da-masthead-side" }, status, copy, python)),
    start,
    note,
    finding.node,
    tabs.node,
    tabs.caption,
    el("div", { class: "da-stage" }, panels.film, panels.space, panels.curves),
    el(
      "div",
      { class: "da-pair" },
      section("layers", "Layers", layers),
      section("image", "Image", whose, picture, table, given, notes.node),
      section("exports", "Export", exports),
    ),
    section("compare", "Compare", compare),
    deep,
  );
  return { root, panels, film, path, curves, status, headline, picture, table, whose, given, notes, finding, layers, compare, exports, deep };
}
