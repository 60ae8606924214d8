// The page of a study, a sweep or a neighbourhood: the contact sheet while it runs, and the views of what it made.
// The value grows while the study runs; what was measured, the runs and the earlier studies are asked for.

import { ask } from "../core/ask.js";
import { initCarry } from "../form/carry.js";
import { comeIntoView } from "../core/come_into_view.js";
import { el, onTheme, reducedMotion } from "../core/dom.js";
import { showFieldError } from "../form/field_error.js";
import { createCurves } from "../runs/curves.js";
import { createFilm } from "../runs/film.js";
import { initGuidanceValues } from "../form/guidance_values.js";
import { createInspector } from "../runs/inspector.js";
import { studyLayers } from "../runs/layer_words.js";
import { createLayersPanel } from "../runs/layers_panel.js";
import { copyLinkButton, currentPage, initPages, isHidden, linkedStudy, linkToStudy } from "../core/pages.js";
import { offerPython, pythonButton } from "../form/python_lines.js";
import { createPath } from "../runs/path3d.js";
import { createRunNotes } from "../runs/run_notes.js";
import { remember, remembered } from "../core/remember.js";
import { SPACES } from "../core/state.js";
import { letStop } from "../form/stop_button.js";
import { createAgreement } from "./study_agreement.js";
import { createBasins } from "./study_basins.js";
import { createCellDialog, createChosen } from "./study_cell.js";
import { createStudyExports } from "./study_exports.js";
import { createGrid } from "./study_grid.js";
import { createGrowth } from "./study_growth.js";
import { createLanes } from "./study_lanes.js";
import { createStudyLayers } from "./study_layers.js";
import { createMap } from "./study_map.js";
import { createMatrix } from "./study_matrix.js";
import { createPicks } from "./study_picks.js";
import { createShelf } from "../runs/shelf.js";
import { createStart } from "../form/start.js";
import { createStudyStore } from "./study_store.js";
import { createTable } from "./study_table.js";
import { isBusy, standing, told } from "../runs/study_words.js";
import { createDrift } from "./sweep_drift.js";
import { createTabs } from "../core/tabs.js";
import { initTips, labelFields } from "../core/tips.js";
import { toast } from "../core/toast.js";

const PATHS = [["film", "Film"], ["pca", "PCA"], ["umap", "UMAP"], ["curves", "Curves"]];
const VIEWS = {
  sweep: [["grid", "Grid"], ...PATHS, ["drift", "Drift"]],
  neighbourhood: [["grid", "Grid"], ["map", "Map"], ["growth", "Growth"], ["matrix", "Distances"], ...PATHS],
};
const STUDIES = {
  noun: "study",
  unit: "cell",
  thumbs: true,
  kept: "Their runs are in the Library. A study that is deleted goes to the Trash there; its runs stay.",
  none: "There is none yet. Every study is kept here, with its runs in the Library.",
};
const TOGETHER = ["drift", "growth"]; // views that draw the visible layers beside the study in view
const LABELLED = { prompt: "prompt", negative_prompt: "negative_prompt", model: "model", seed: "seed", num_inference_steps: "steps", guidance_scale: "guidance", size: "size", scheduler: "scheduler", guidance_method: "guidance_method", exact: "exact", lanes: "lane", field: "sweep", mode: "neighbourhood", radius: "radius", to_seed: "slerp", offset: "seed_offset" };

/** Mount the page in `element`.
 *
 * `read()` returns the current value of the study that runs here; `props` has operation ("sweep" or
 * "neighbourhood"), glossary, kinds and study_kinds; `onSubmit({retry: [keys of cells], id})` runs cells once more, and
 * streams into the value; `onSubmit({open: id})` fills the form. Returns a function to call when the value has changed.
 */
export function mount(element, read, server, props, onSubmit = () => {}) {
  const { operation } = props;
  const views = VIEWS[operation].filter(([view]) => !isHidden(view));
  initPages();
  initCarry(operation, onSubmit, props.request);
  initTips(props.glossary);
  initGuidanceValues();
  labelFields(Object.fromEntries(Object.entries(LABELLED).map(([name, key]) => [`${operation}-${name}`, key])));

  let state = null;
  let request; // none before the first value
  let began = performance.now();

  const store = createStudyStore({ server, operation, views: views.map(([view]) => view), onChange: render, start: props.start });
  const layers = createStudyLayers({ server, operation, onChange: store.repaint });
  let panel = null; // the list of layers, once there is one
  const start = createStart(props.start, operation);
  const copy = copyLinkButton(address, "da-plain", linkToStudy);
  const tabs = createTabs({
    views,
    panels: Object.fromEntries(views.map(([view]) => [view, `da-${operation}-panel-${SPACES.includes(view) ? "space" : view}`])),
    prefix: `da-${operation}`,
    caption: explain,
    onView: store.show,
    onEvery: store.thumbnails,
    onFit: store.fitOn,
    onHome: () => path.home(),
  });
  const python = pythonButton();
  offerPython(operation, () => {
    const { study } = state;
    return study?.python ? { lines: study.python, title: `${study.title} in Python` } : null;
  });
  const parts = layout(operation, tabs, copy, python, start.node);
  element.querySelector(".da-mount").replaceChildren(parts.root);

  parts.unmeasure.addEventListener("click", () => ask(server, "stop_measures", {}).catch((error) => console.warn("stop_measures", error)));
  const openStep = (id, index, options) => {
    store.select(id, index);
    inspector.open(id, index, options);
  };
  const inspector = createInspector({ server, getState: () => ({ layers: store.inspectable() }), onSelect: (id, index) => store.select(id, index) });
  const dialog = createCellDialog({ server });
  const film = createFilm(parts.film, { onSelect: openStep, onHistogram: (id, index) => openStep(id, index, { histogram: true }) });
  const path = createPath(parts.path, { onSelect: openStep });
  const curves = createCurves(parts.curves, { server, onSelect: (id, index) => store.select(id, index) });
  const retry = (keys) => keys.length && onSubmit({ retry: keys, id: state.study.id });
  const grid = createGrid(parts.grid, { onOpen: openCell, onRetry: retry });
  const lanes = createLanes(parts.lanes, { onStop: stopLane, onRetry: retry });
  const picks = createPicks(parts.picks, { onLane: store.inLane, onRow: store.inRow });
  const chosen = createChosen(parts.chosen, { onOpen: openCell });
  const table = createTable(parts.deep, { onSelect: (key) => store.choose(key) });
  const exports = createStudyExports(parts.exports, { server, kinds: props.kinds ?? [], studyKinds: props.study_kinds ?? [] });
  const shelf = createShelf(parts.shelf, {
    kind: STUDIES,
    list: async () => (await ask(server, "studies", { operation })).studies,
    rename: (id, title) => ask(server, "rename_study", { id, title }),
    forget: (id) => ask(server, "forget_study", { id }),
    restore: (id) => ask(server, "restore_study", { id }),
    onOpen: open,
    onRenamed,
    onForgotten,
    onRestored: layers.refresh,
  });
  const tools = { server, onSelect: (key) => store.choose(key) };
  const measured = operation === "sweep" ? { drift: createDrift(parts.drift, tools) } : { map: createMap(parts.map, tools), growth: createGrowth(parts.growth, tools), matrix: createMatrix(parts.matrix, tools) };
  const below = operation === "sweep" ? [] : [createBasins(parts.basins, tools)];
  const agreement = operation === "sweep" ? null : createAgreement(parts.agreement, tools);

  function render() {
    state = store.state();
    const { root } = parts;
    const { view, study, value } = state;
    root.dataset.status = value.status ?? "idle";
    root.dataset.view = view;
    root.classList.toggle("da-empty", !study);
    tabs.update(state);
    for (const [name, panel] of Object.entries(parts.panels)) panel.hidden = name !== (SPACES.includes(view) ? "space" : view);
    parts.panels.space.setAttribute("aria-labelledby", `da-${operation}-tab-${view === "umap" ? "umap" : "pca"}`);
    picks.update(state);
    layers.look(study && !state.example ? study : null, value.status);
    const kept = layers.state(study, state.busy, TOGETHER.includes(view));
    updateLayers(kept);
    updateStage(kept);
    lanes.update(state);
    parts.notes.update(value.notes, value.known);
    chosen.update(state);
    table.update(state);
    exports.update(state);
    shelf.mark(study?.id ?? null);
    inspector.update({ layers: store.inspectable() });
    parts.runs.hidden = !["film", "pca", "umap", "curves"].includes(view) || !study;
    write(parts.runs, pathsNote(state));
    parts.agreementBox.hidden = operation === "sweep" || (study?.lanes.length ?? 0) < 2 || !state.measures;
    copy.hidden = !study;
    python.hidden = !study?.python;
    start.update(state.example);
    if (study && !state.example) remember(`${operation}-study`, study.id);
    parts.back.hidden = !state.opened || !state.away;
    write(parts.problem, state.problem ?? "");
    parts.problem.hidden = !state.problem;
    parts.measuring.hidden = !state.measuring || state.busy;
    say();
  }

  // A view that is out of sight catches up when it is shown.
  function updateStage(kept) {
    const { view, study } = state;
    if (view === "grid") grid.update(state);
    else if (view === "film") film.update(state);
    else if (view === "curves") curves.update(state);
    else if (SPACES.includes(view)) path.update(state);
    else if (view === "drift") measured.drift.update({ ...state, kept });
    if (operation === "sweep" || !study) return;
    const seen = { study, cells: state.cells, measures: state.measures, lane: state.lane ?? study.lanes[0].key, selected: state.cell, busy: state.busy, measuring: state.measuring, unmeasured: state.unmeasured, kept };
    measured[view]?.update(seen);
    if (view === "map") for (const part of below) part.update(seen);
    agreement.update(seen);
  }

  // The list is there once there is something to keep.
  function updateLayers(kept) {
    parts.layersBox.hidden = !kept.rows.length && !kept.leftOut;
    write(parts.leftOut, kept.leftOut ?? "");
    if (!panel && kept.rows.length) panel = createLayersPanel(parts.layers, { onActivate: bring, onEdit: editLayer, words: studyLayers(operation) });
    parts.layers.hidden = !kept.rows.length;
    panel?.update(kept);
  }

  function bring(id) {
    if (id !== state.study?.id) open(id);
  }

  async function editLayer(change) {
    await layers.edit(change);
    if (change.action !== "rename") return;
    store.retitle(change.id, layers.find(change.id)?.name ?? change.name);
    shelf.refresh();
  }

  function onRenamed(id, title) {
    store.retitle(id, title);
    layers.refresh();
  }

  function onForgotten(id) {
    store.drop(id);
    layers.refresh();
  }

  function update() {
    const value = read();
    const another = value.request !== request;
    const first = request === undefined;
    const ended = !first && state?.value.request === value.request && state.busy && !isBusy(value.status);
    request = value.request;
    if (another) began = performance.now();
    store.receive(value);
    if (another && !first && value.status !== "idle" && !value.error) comeIntoView(parts.root);
    if (another || ended) shelf.refresh();
    showFieldError(value.error, operation);
    letStop(`${operation}-stop`, isBusy(value.status));
  }

  async function open(id) {
    const came = await store.open(id);
    if (came) onSubmit({ open: id }); // the form is filled with what it asked
    if (came && parts.root.getBoundingClientRect().top < 0) parts.root.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "start" });
  }

  async function stopLane(lane) {
    try {
      await ask(server, "stop_lane", { id: state.study.id, lane });
    } catch (error) {
      toast(error.message);
    }
  }

  /** Enlarge a cell: its run at its last step, or its picture alone where it left no run. */
  async function openCell(key) {
    const { study, cells } = state;
    const cell = study.cells.find((each) => each.key === key);
    const { status, run, image } = told(cells, key);
    store.choose(key);
    if (status === "waiting" || status === "running") return;
    try {
      if (run) {
        const data = await store.load(run);
        if (data.steps.length) return openStep(run, data.steps.length - 1);
      }
      if (image) dialog.open(state, cell, image);
    } catch (error) {
      toast(error.message);
    }
  }

  function address() {
    const { study } = state;
    if (!study) return null;
    return { id: study.id, operation, query: study.query };
  }

  function say() {
    const { value, study } = state;
    write(parts.headline, study?.title ?? "");
    const seconds = (performance.now() - began) / 1000;
    write(parts.status, state.opening ? "Opening…" : (value.status && value.status !== "idle") || study ? standing(value, seconds) : "");
    parts.status.classList.toggle("da-failed", value.status === "failed");
  }

  parts.back.addEventListener("click", () => store.back());
  setInterval(() => {
    if (!state?.busy) return;
    say();
    grid.tick();
  }, 500);
  // The colours of the columns are those of the paper they lie on.
  onTheme(() => state && store.repaint());
  parts.root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || event.target.closest("input, textarea, select, dialog")) return;
    if (state?.cell) store.choose(null);
  });
  update();
  const linked = linkedStudy(operation);
  if (linked) open(linked);
  // Fetched when the page is first turned to: the study that was in sight before a reload, else the example.
  let last = remembered(`${operation}-study`, null, null);
  let listed = false;
  const begin = async () => {
    if (currentPage() !== operation) return;
    if (!listed) layers.refresh();
    listed = true;
    if (linked) return;
    const before = last;
    last = null;
    if (!before || !(await store.open(before, true))) store.begin();
  };
  window.addEventListener("da-page", begin);
  begin();
  return update;
}

// A line about each view that is not one of the runs' paths.
function explain({ view, operation, study }) {
  switch (view) {
    case "grid":
      if (operation === "neighbourhood") return "The anchor, and what grows from noise around its own ({neighbourhood|neighbourhood}). The numbers under a frame say how far it lies from the anchor. Choose a frame to enlarge it.";
      return "One prompt, and in each row one noise: what differs from frame to frame is the swept value alone. The numbers under a frame say how far it lies from the baseline ({drift|drift}). Choose a frame to enlarge it.";
    case "drift":
      return "How far each value carries image and latents from the baseline ({drift|drift}), and where something begins. Shaded is the largest change between neighbouring values, dotted the {baseline|baseline}.";
    case "map":
      return "Every neighbour placed by its distances from the others. Choose a picture to see which it is.";
    case "growth":
      return "How far apart two images are, against how far apart their noise was. Where it is steep the manifold is thin; a pair far above the others is a jump.";
    case "matrix":
      return "How far every neighbour lies from every other.";
    default:
      return study ? null : "The paths of all cells, once there are some.";
  }
}

function pathsNote({ study, layers, loading, left, unread, busy, pathLane, view }) {
  const parts = [];
  const schedulers = new Set((study?.cells ?? []).map((cell) => cell.params?.scheduler));
  if (pathLane === null && schedulers.size > 1 && study.lanes.length > 1 && view !== "film") parts.push("Schedulers scale their states differently: lanes with different ones can lie far apart for that alone.");
  if (loading) parts.push(`Fetching ${loading} ${loading === 1 ? "run" : "runs"}…`);
  else if (!layers.length) parts.push(unread ?? (busy ? "Paths come as the cells end." : "These cells have pictures only: their backend shows no steps."));
  if (left) parts.push(`${left} more paths are not drawn: choose a lane or a seed.`);
  if (layers.length && unread) parts.push(unread);
  return parts.join(" ");
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function layout(operation, tabs, copy, python, start) {
  const section = (name, title, ...children) => el("section", { class: `da-section da-section-${name}`, "aria-label": title }, el("h2", {}, title), ...children);
  const box = (name, tag = "div") => el(tag, { class: `da-${name}` });
  const own = Object.fromEntries(["grid", "film", "path", "drift", "map", "basins", "growth", "matrix", "agreement", "exports", "lanes", "picks", "chosen"].map((name) => [name, box(PLACES[name] ?? `study-${name}`)]));
  // A form of its own keeps the choice of its axis apart from that of the other pages.
  const curves = el("form", { class: "da-curves", onsubmit: (event) => event.preventDefault() });
  const panel = (name, ...children) => el("div", { class: `da-panel da-panel-${name}`, id: `da-${operation}-panel-${name}`, role: "tabpanel", "aria-labelledby": `da-${operation}-tab-${name}`, hidden: "" }, ...children);
  const panels = { grid: panel("grid", own.grid), film: panel("film", own.film), space: panel("space", own.path), curves: panel("curves", curves) };
  if (operation === "sweep") panels.drift = panel("drift", own.drift);
  else Object.assign(panels, { map: panel("map", own.map, own.basins), growth: panel("growth", own.growth), matrix: panel("matrix", own.matrix) });
  const status = el("p", { class: "da-status", role: "status", "aria-live": "polite" });
  const begin = operation === "sweep" ? "Type a prompt and press Sweep." : "Type a prompt and press Explore.";
  const headline = el("p", { class: "da-headline", dir: "auto", "data-begin": begin });
  const back = el("button", { type: "button", class: "da-plain", hidden: "" }, "Back to what runs");
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const notes = createRunNotes(`${operation}-prompt`);
  // Told only of what takes a while: it appears after a second (study.css).
  const unmeasure = el("button", { type: "button", class: "da-plain" }, "Stop");
  const measuring = el("p", { class: "da-caption da-measuring", hidden: "" }, "Measuring the cells… ", unmeasure);
  const layers = el("div", { class: "da-layers" });
  const leftOut = el("p", { class: "da-caption da-left-out", role: "status" });
  const layersBox = section("layers", "Layers", layers, leftOut);
  const runs = el("p", { class: "da-caption da-study-runs", role: "status", hidden: "" });
  const agreementBox = section("agreement", "Agreement between lanes", own.agreement);
  const summary = (head, about) => el("summary", {}, el("span", { class: "da-deep-head" }, head), el("span", { class: "da-deep-about" }, about));
  const deep = el("details", { class: "da-deep" }, summary("Deep dive", "every cell in numbers"));
  const shelf = el("details", { class: "da-shelf" }, summary(operation === "sweep" ? "Earlier sweeps" : "Earlier neighbourhoods", "kept in the Library, and opened here"));
  const root = el(
    "div",
    { class: "da-viewer da-study", "data-operation": operation },
    el("div", { class: "da-masthead" }, headline, el("div", { class: "da-masthead-side" }, status, back, copy, python)),
    start,
    problem,
    notes.node,
    measuring,
    own.lanes,
    tabs.node,
    tabs.caption,
    own.picks,
    el("div", { class: "da-stage" }, ...Object.values(panels)),
    runs,
    own.chosen,
    layersBox,
    agreementBox,
    section("exports", "Export", own.exports),
    deep,
    shelf,
  );
  return { root, panels, ...own, curves, status, headline, back, problem, notes, measuring, unmeasure, runs, layers, leftOut, layersBox, agreementBox, deep, shelf };
}

// The views that are shared with the Trajectory page have their classes from there.
const PLACES = { film: "film", path: "path" };
