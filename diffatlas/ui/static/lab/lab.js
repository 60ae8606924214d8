// The 2D Lab: diffusion in the plane, where the exact answer is known.

import { el, reducedMotion } from "../core/dom.js";
import { download } from "../form/exports.js";
import { significant } from "../core/format.js";
import { createBudgetView } from "./lab_budget.js";
import { createBrush, createSampling, createTargets, createTraining } from "./lab_controls.js";
import { createDensityView } from "./lab_model_density.js";
import { createFieldView } from "./lab_field.js";
import { figure } from "./lab_figure.js";
import { createAside, createKept } from "./lab_kept.js";
import { createLessons } from "./lab_lessons.js";
import { createMeasures } from "./lab_measures.js";
import { createMemoryView } from "./lab_memory.js";
import { createMini } from "./lab_mini.js";
import { createPlane } from "./lab_plane.js";
import { createLabPlayer } from "./lab_player.js";
import { createQualityView } from "./lab_quality.js";
import { createLabStore } from "./lab_store.js";
import { createTrainingView } from "./lab_training.js";
import { currentPage, initPages } from "../core/pages.js";
import { offerPython } from "../form/python_lines.js";
import { remember, remembered } from "../core/remember.js";
import { createTabs } from "../core/tabs.js";
import { initTips } from "../core/tips.js";

const VIEWS = [["field", "Field"], ["training", "Training"], ["quality", "Quality"], ["budget", "Error budget"], ["memory", "Memory"], ["density", "Density"]];
const CAPTIONS = {
  field: "Which way the network sends a point, and which way is right ({score|score}, {denoiser|denoiser}).",
  training: "How far the network is from the best that any could be ({bayes_floor|Bayes floor}, {excess|excess}).",
  quality: "How near samples come to the target in how many steps ({mmd|MMD}, {sliced_wasserstein|sliced Wasserstein}, {surprise|surprise}, {mode_coverage|modes}).",
  budget: "Whether an error comes from too few steps or from the network ({error_budget|error budget}).",
  memory: "When a network repeats its training points, and when it draws new ones ({copy|copies}).",
  density: "What the network thinks is likely ({probability_flow|flow}, {kl|KL divergence}).",
};
const LAYERS = [["points", "Points"], ["exact", "Exact density"], ["cloud", "Density of the points"], ["mesh", "Mesh"], ["path", "Path"]];
const START = [0.9, 0.9];
const FIRST = "moons";
const WAIT = 200; // ms in which changes of the form are collected

/** Mount the page in `element`; `server` has the functions of lab_services.py, `props` glossary and palette. */
export function mount(element, read, server, props) {
  initPages();
  initTips(props.glossary);
  const { palette } = props;
  let begun = false;
  let view = "field";
  let timer = 0;
  let moving = false;
  let awaited = null;
  let noted = null;
  let forgotten = null; // {id, lab}: the network in view, once what was kept of it is deleted
  let shelved = { id: null, revision: 0 };
  let start = START; // of the path
  let layers = { points: true, exact: false, cloud: false, mesh: false, path: false };

  const store = createLabStore({ server, onChange: render });
  const targets = createTargets({ palette, onPick: pick, onDraw: startDrawing, onTable: (text) => fresh({ table: text }), onFile: openFile, onProblem: (message) => store.set({ problem: { message, field: "target" } }) });
  const training = createTraining({ onTrain: () => train(training.recipe()), onContinue: () => train(null), onStop: store.stop, onPretrained: () => pick(store.get().lab.name) });
  const sampling = createSampling({ onChange: later, onAgain: () => sample() });
  const kept = createKept({ palette, call: store.call, onOpen: openKept, onDeleted: deleted, onRestored: restored });
  const aside = createAside({ onBack: (to) => openKept({ id: to.kept, lab: to.lab, kind: to.kind }), onKeep: store.keep, onClose: () => store.set({ aside: null }) });
  const plane = createPlane({ palette, onStart: moveStart, onDraw: stroke });
  const player = createLabPlayer({ onTime: () => plane.update(store.get(), player.position(), layers) });
  const brush = createBrush({ palette, onLabel: (label) => draw({ label }), onWidth: (width) => draw({ width }), onDone: finishDrawing, onCancel: () => store.set({ drawing: null }), onUndo: undoStroke });
  const source = createMini({ label: "The source: noise", palette });
  const goal = createMini({ label: "The target", palette });
  const measures = createMeasures({ store });
  const views = {
    field: createFieldView({ store, sampling: sampling.asked }),
    training: createTrainingView({ store }),
    quality: createQualityView({ store, sampling: sampling.asked }),
    budget: createBudgetView({ store, sampling: sampling.asked }),
    memory: createMemoryView({ store }),
    density: createDensityView({ store }),
  };
  const tabs = createTabs({ views: VIEWS, panels: Object.fromEntries(VIEWS.map(([name]) => [name, `da-lab-panel-${name}`])), prefix: "da-lab", caption: () => CAPTIONS[view], onView: show });
  const lessons = createLessons({ page: lessonPage(), ids: props.lessons, onShow: () => {} });
  const parts = layout();
  element.querySelector(".da-mount").replaceChildren(parts.root);

  // Targets and weights

  async function pick(name) {
    store.set({ drawing: null });
    if (await store.begin({ target: { preset: name }, pretrained: true })) await sample();
  }

  async function fresh(target) {
    if (await store.begin({ target, recipe: training.recipe() })) {
      sampling.set({ field: "exact", classes: "all", weight: 0 });
      await sample();
    }
  }

  // A network or a drawing that is kept, or a lab that is still in memory.
  async function openKept({ id, lab, kind }) {
    if (kind === "drawing") return fresh({ kept: id });
    const opened = await store.back(lab ? { again: lab } : { kept: id });
    if (!opened) return false;
    sampling.set({ field: opened.step ? "learned" : "exact", classes: "all" });
    return Boolean(await sample());
  }

  // The network in view may be the one: then it is kept no longer. Else there may be room for it now.
  function deleted(id) {
    const { kept: mine, unkept, aside: left, lab } = store.get();
    if (mine === id) {
      forgotten = { id, lab };
      store.set({ kept: null });
    }
    if (left?.kept === id) store.set({ aside: null });
    if (unkept) store.keep();
  }

  function restored(id) {
    if (forgotten?.id === id && forgotten.lab === store.get().lab) store.set({ kept: id });
  }

  async function openFile(text) {
    const view = await store.open(text);
    if (view) await restore(view);
  }

  async function restore(kept) {
    if (kept.sampling && typeof kept.sampling === "object") sampling.set(kept.sampling);
    if (VIEWS.some(([name]) => name === kept.view)) show(kept.view);
    if (kept.field && typeof kept.field === "object") views.field.set(kept.field);
    if (Array.isArray(kept.start) && kept.start.length === 2 && kept.start.every(Number.isFinite)) start = kept.start;
    if (kept.layers && typeof kept.layers === "object") setLayers(Object.fromEntries(LAYERS.map(([name]) => [name, kept.layers[name] === true])));
    await sample();
  }

  async function train(recipe, anyway = false) {
    for (const form of [training, sampling]) form.clear();
    const steps = training.recipe().steps ?? store.get().defaults.steps;
    // On while it trains the network itself is looked at.
    sampling.set({ field: "learned" });
    const ended = await store.train(steps, recipe, anyway);
    if (store.get().step && !["waiting", "training"].includes(store.get().status) && !store.get().problem) await sample({ quiet: true });
    return ended;
  }

  // Drawing

  function startDrawing() {
    store.set({ drawing: { points: [], labels: [], strokes: [], label: 0, width: 0.08 }, problem: null });
    parts.plane.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "nearest" });
    plane.canvas.focus({ preventScroll: true });
  }

  function draw(patch) {
    store.set({ drawing: { ...store.get().drawing, ...patch } });
  }

  // A few points around the pointer, spread as wide as the brush.
  function stroke([x, y], begins) {
    const { points, labels, strokes, label, width } = store.get().drawing;
    if (labels.length >= 1000) return;
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    const more = Array.from({ length: 3 }, () => [x + (width / 2) * normal(), y + (width / 2) * normal()]).flat();
    draw({ points: [...points, ...more], labels: [...labels, label, label, label], strokes: begins ? [...strokes, labels.length] : strokes });
  }

  function undoStroke() {
    const { points, labels, strokes } = store.get().drawing;
    const to = strokes.at(-1) ?? 0;
    draw({ points: points.slice(0, 2 * to), labels: labels.slice(0, to), strokes: strokes.slice(0, -1) });
  }

  async function finishDrawing() {
    const { points, labels, width } = store.get().drawing;
    const short = (value) => Math.round(1e4 * value) / 1e4;
    const pairs = labels.map((_, k) => [short(points[2 * k]), short(points[2 * k + 1])]);
    const used = [...new Set(labels)].sort();
    await fresh({ name: "drawing", points: pairs, labels: labels.map((label) => used.indexOf(label)), classes: used.map((label) => String(label + 1)), jitter: Math.max(0.03, width / 2) });
  }

  // Sampling

  function later() {
    clearTimeout(timer);
    timer = setTimeout(sample, WAIT);
  }

  async function sample({ quiet = false, anyway = false } = {}) {
    clearTimeout(timer);
    sampling.clear();
    const { lab, status } = store.get();
    if (!lab || ["waiting", "training"].includes(status)) return null;
    if (!store.get().step && sampling.asked().field === "learned") sampling.set({ field: "exact" });
    if (quiet) awaited = "quiet";
    const frames = await store.sample(sampling.asked(), anyway);
    if (frames) {
      if (layers.path) store.paths(start, frames.asked);
      if (layers.exact) store.densities(frames.asked);
      if (view === "field") views.field.update(store.get());
      measures.measure(frames);
    }
    return frames;
  }

  async function moveStart(to, done) {
    start = to;
    const { path, frames } = store.get();
    if (!frames) return;
    if (path) store.set({ path: { ...path, start } });
    if (moving && !done) return;
    moving = true;
    await store.paths(start, frames.asked);
    moving = false;
  }

  function setLayers(next) {
    layers = { ...layers, ...next };
    for (const [name, box] of Object.entries(parts.boxes)) box.checked = layers[name];
    const { frames, density, path } = store.get();
    if (frames && layers.exact && !density) store.densities(frames.asked);
    if (frames && layers.path && !path) store.paths(start, frames.asked);
    render();
  }

  // Files

  async function save() {
    const { url, name } = await store.call("lab_save", { view: { sampling: sampling.asked(), field: views.field.asked(), start: store.get().path?.start ?? null, view, layers } });
    download(url, name);
  }

  async function gif() {
    const { url, name } = await store.call("lab_gif", {});
    download(url, name);
  }

  function targetRows() {
    const { lab } = store.get();
    return lab ? [["x", "y", "class"], ...lab.target.labels.map((label, k) => [lab.target.points[2 * k], lab.target.points[2 * k + 1], lab.classes[label]])] : [];
  }

  function sampleRows() {
    const { frames, lab } = store.get();
    if (!frames) return [];
    return [["x", "y", "class"], ...Array.from({ length: frames.n }, (_, k) => [frames.final[2 * k], frames.final[2 * k + 1], frames.labels ? lab.classes[frames.labels[k]] : ""])];
  }

  // What is seen

  function show(name) {
    view = name;
    render();
  }

  function render() {
    const state = store.get();
    if (!parts) return;
    targets.update(state);
    training.update(state);
    sampling.update(state);
    brush.update(state);
    kept.update(state);
    aside.update(state);
    if (state.kept !== shelved.id || state.revision !== shelved.revision) shelve(state);
    if (state.problem) {
      const { field, message, form, anyway } = state.problem;
      const told = (form === "sampling" ? sampling : training).blame(field, message);
      parts.problem.hidden = told;
      parts.problem.replaceChildren(message, ...(anyway ? [" ", el("button", { type: "button", class: "da-button", onclick: () => (form === "sampling" ? sample({ anyway: true }) : train(null, true)) }, "Run it all the same")] : []));
    } else parts.problem.hidden = true;
    player.take(state.live || state.drawing ? null : state.frames, { quiet: awaited === "quiet" });
    if (state.frames && !state.live) awaited = null;
    const sourceFrames = state.frames;
    if (sourceFrames) source.update(sourceFrames.points.subarray(0, 2 * sourceFrames.n), null, state.extent);
    if (state.lab) goal.update(state.lab.target.points, state.lab.target.labels, state.extent);
    plane.update(state, player.position(), layers);
    parts.deterministic.hidden = !state.frames || Boolean(state.frames.mesh) || !(layers.mesh || layers.path);
    tabs.update({ view, layers: [], every: 0, fit: "all", live: null });
    for (const [name] of VIEWS) parts.panels[name].hidden = name !== view;
    if (state.lab) views[view].update(state);
    measures.update(state);
    say(state);
  }

  // What is kept has changed: the list is fetched anew, and this tab comes back to it after a reload.
  function shelve({ kept: id, revision, presets }) {
    if (!presets) return;
    shelved = { id, revision };
    remember("lab-kept", id ?? "");
    kept.load();
  }

  function say(state) {
    const { recent } = state;
    const figures = recent === null ? "" : ` · loss ${significant(recent, 3)}${state.floor === null ? "" : ` (floor ${significant(state.floor, 3)})`}`;
    let text = state.lab?.title ?? "";
    if (state.drawing) text = "Drawing a target";
    else if (state.status === "waiting") text = state.ahead ? `Waiting for a place to train: ${state.ahead} ahead${state.wait ? `, ${state.wait}` : "…"}` : "Starting to train…";
    else if (state.status === "training") text = `Training: step ${state.step.toLocaleString("en")} · ${Math.round(state.rate).toLocaleString("en")} steps/s${figures}`;
    else if (state.busy) text = state.busy;
    else if (state.lab && state.step) text += ` · ${state.step.toLocaleString("en")} steps trained${figures}${state.kept ? " · kept" : ""}`;
    else if (state.lab) text += " · not trained yet; what you see is the exact field";
    if (parts.status.textContent !== text) parts.status.textContent = text;
  }

  /** What a lesson may do with the page. */
  function lessonPage() {
    return {
      pick: async (name) => {
        if (store.get().lab?.name !== name || store.get().lab.origin !== "pretrained") {
          if (!(await store.begin({ target: { preset: name }, pretrained: true }))) throw new Error(store.get().problem.message);
        }
      },
      train: async (recipe) => {
        for (const [name, value] of Object.entries({ ...store.get().defaults, ...recipe })) training.set(name, value);
        if (!(await store.train(recipe.steps, training.recipe()))) throw new Error(store.get().problem?.message ?? "the training was stopped");
      },
      sample: async (values) => {
        sampling.set({ eta: 0, churn: 0, interval: false, kind: "cfg", n: 1000, seed: 0, ...values, classes: String(values.classes ?? "all") });
        const frames = await sample();
        if (!frames) throw new Error(store.get().problem?.message ?? "the sampling was replaced by another");
        return frames;
      },
      field: async (values) => {
        show("field");
        await views.field.set(values);
        return views.field.data();
      },
      excess: () => store.call("lab_excess", {}),
      quality: (values) => views.quality.set(values),
      measureQuality: () => views.quality.measure(),
      summary: (name, sampler) => views.quality.summary(name, sampler),
      budget: async () => (await views.budget.measure()) ?? Promise.reject(new Error("it could not be measured")),
      memory: async (steps) => {
        const rows = await views.memory.measure(steps);
        if (!rows.length) throw new Error("it was stopped");
        return rows;
      },
      tab: show,
      layers: (next) => setLayers({ points: false, exact: false, cloud: false, mesh: false, path: false, ...next }),
      go: (share) => player.go(share),
      note: (value) => (noted = value),
      noted: () => noted,
    };
  }

  function layout() {
    const status = el("p", { class: "da-status", role: "status", "aria-live": "polite" });
    const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
    const boxes = Object.fromEntries(LAYERS.map(([name]) => [name, el("input", { type: "checkbox", onchange: (event) => setLayers({ [name]: event.target.checked }) })]));
    boxes.points.checked = true;
    const toggles = el("div", { class: "da-lab-toggles", role: "group", "aria-label": "Shown in the plane" }, ...LAYERS.map(([name, label]) => el("label", {}, boxes[name], label)));
    const deterministic = el("p", { class: "da-caption", hidden: "" }, "Mesh and path need a sampler without fresh noise: with it, a start has no one end.");
    const current = figure({
      name: "samples",
      title: "From noise to points",
      body: el("div", {}, plane.node, brush.node, player.node, toggles, deterministic),
      about: "Points on their way ({sampler|sampler}), coloured by class. Gold lines: the exact density at this noise; burgundy: that of the points shown. The mesh is carried by the same {probability_flow|flow}; of the path, burgundy goes through the learned field and gold through the exact one, and its ring can be dragged.",
      png: () => [plane.canvas],
      csv: sampleRows,
      asked: () => store.get().frames?.told ?? {},
      more: [["GIF", gif]],
    });
    const panels = Object.fromEntries(VIEWS.map(([name]) => [name, el("div", { class: "da-panel", id: `da-lab-panel-${name}`, role: "tabpanel", "aria-labelledby": `da-lab-tab-${name}`, hidden: "" }, views[name].node)]));
    const from = figure({ name: "source", title: "Source", body: source.node, png: () => [source.canvas] });
    const towards = figure({ name: "target", title: "Target", body: goal.node, png: () => [goal.canvas], csv: targetRows, asked: () => ({ lab_target: store.get().lab.title }) });
    const beside = el("div", { class: "da-lab-beside" }, from.node, towards.node, measures.node);
    const file = figure({ name: "lab", body: el("span", {}), more: [["Save this lab", save]] });
    file.node.classList.add("da-lab-file");
    const main = el("div", { class: "da-lab-main" }, el("div", { class: "da-attention-head" }, status, file.node), problem, aside.node, lessons.card, el("div", { class: "da-lab-stage" }, current.node, beside), tabs.node, tabs.caption, el("div", { class: "da-stage" }, ...Object.values(panels)));
    const actions = el("div", { class: "da-actions da-lab-actions", role: "group", "aria-label": "Train and sample" }, ...training.actions, ...sampling.actions);
    const side = el("div", { class: "da-lab-side" }, lessons.menu, targets.node, kept.node, training.node, sampling.node, actions);
    const root = el("div", { class: "da-viewer da-lab" }, side, main);
    return { root, status, problem, boxes, deterministic, panels, plane: current.node };
  }

  async function inSight() {
    if (currentPage() !== "lab" || begun) return;
    begun = true;
    store.set({ busy: "Opening the lab…" });
    try {
      await store.load();
    } catch (error) {
      begun = false;
      store.set({ busy: "", problem: { message: error.message, field: null } });
      return;
    }
    const wanted = new URLSearchParams(location.search).get("target");
    const last = wanted ? "" : remembered("lab-kept", null, "");
    if (last && (await openKept({ id: last, kind: "network" }))) return;
    await pick(store.get().presets.some(({ name }) => name === wanted) ? wanted : FIRST);
  }

  parts.root.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.closest("button, input, select, textarea, summary, [role=tab]")) return;
    event.preventDefault();
    player.toggle();
  });
  offerPython("lab", () => store.get().frames && { lines: store.get().frames.python, title: `${store.get().lab.title} in Python` });
  window.addEventListener("da-page", inSight);
  render();
  inSight();
  return () => {};
}
