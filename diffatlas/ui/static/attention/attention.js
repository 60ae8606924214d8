// The Attention page: what each word of the prompt looks at, step by step, layer by layer. The run in progress is a
// value that grows (see run_view.py); of a run that has ended, what is looked at is asked for.

import { initCarry } from "../form/carry.js";
import { comeIntoView } from "../core/come_into_view.js";
import { ask } from "../core/ask.js";
import { createAttentionCompare } from "./attention_compare.js";
import { createAttentionCurves } from "./attention_curves.js";
import { createAttentionFilm } from "./attention_film.js";
import { createWordGrid } from "./attention_grid.js";
import { createObjects } from "./attention_objects.js";
import { createPlaces } from "./attention_places.js";
import { createPlayer } from "./attention_player.js";
import { createAttentionRuns } from "./attention_runs.js";
import { createStage } from "./attention_stage.js";
import { createSteps } from "./attention_steps.js";
import { createAttentionStore, VIEWS } from "./attention_store.js";
import { createWords } from "./attention_words.js";
import { el, onTheme, reducedMotion } from "../core/dom.js";
import { createFigure } from "../figures/figure.js";
import { seedWords } from "../core/format.js";
import { createExportRow } from "../form/exports.js";
import { showFieldError } from "../form/field_error.js";
import { createFormNote } from "../form/form_note.js";
import { givenPictures } from "../runs/given.js";
import { initGuidanceValues } from "../form/guidance_values.js";
import { copyLinkButton, currentPage, initPages, linkedAttention, linkToAttention, openRun } from "../core/pages.js";
import { offerPython, pythonButton } from "../form/python_lines.js";
import { createHostedFinding } from "../runs/hosted_finding.js";
import { createRunNotes } from "../runs/run_notes.js";
import { createStart } from "../form/start.js";
import { BUSY, sentence } from "../core/state.js";
import { letStop } from "../form/stop_button.js";
import { createTabs } from "../core/tabs.js";
import { initTips, labelFields } from "../core/tips.js";
import { toast } from "../core/toast.js";

const NAMES = { words: "Words", steps: "Steps", curves: "Curves", places: "Places", objects: "Objects", compare: "Compare" };
const LABELLED = { prompt: "prompt", negative_prompt: "negative_prompt", model: "model", seed: "seed", num_inference_steps: "steps", guidance_scale: "guidance", size: "size", scheduler: "scheduler", guidance_method: "guidance_method", attention: "cross_attention" };
const CAPTIONS = {
  words: "Every word’s map at the chosen step ({word_map|word maps}). Choose one to look at it above.",
  steps: "How much each word is read at each step ({activation|activation}). Choose a cell to go there.",
  curves: "How much each word is read ({activation|activation}), how many tokens a place reads at once ({attention_entropy|entropy}), and at which steps attention moves ({attention_kl|reallocation}).",
  places: "What places of the picture read from each other ({self_attention|self-attention}).",
  objects: "Whether a word looks at the object that it names, where a detector can tell ({box_share|share}, {binding|binding}).",
  compare: "The same word in two runs, and how far apart their attention is ({attention_js|divergence}).",
};

/** Mount the page in `element`.
 *
 * `read()` returns the value of the run in progress; `server` has the functions of attention_services.py; `props` has
 * glossary and kinds. Returns a function to call when the value has changed.
 */
export function mount(element, read, server, props, onSubmit) {
  initPages();
  initCarry("attention", onSubmit, props.request);
  initTips(props.glossary);
  initGuidanceValues();
  labelFields(Object.fromEntries(Object.entries(LABELLED).map(([name, key]) => [`attention-${name}`, key])));

  let state = null;
  let began = performance.now();
  let request; // none before the first value
  let asked = false; // whether the list of runs was asked for

  const store = createAttentionStore({ server, onChange: render, start: props.start });
  const start = createStart(props.start, "attention", open);
  const go = (position) => store.go(position);
  const words = createWords({ onSelect: store.choose });
  const stage = createStage({ store });
  const player = createPlayer({ onGo: go });
  const film = createAttentionFilm({ onGo: go });
  const views = {
    words: createWordGrid({ store, onSelect: store.choose }),
    steps: createSteps({ store, onGo: go, createFigure }),
    curves: createAttentionCurves({ store, onGo: go, createFigure }),
    places: createPlaces({ store }),
    objects: createObjects({ store, onGo: go, onOpen: open, createFigure }),
    compare: createAttentionCompare({ store, onGo: go, createFigure }),
  };
  const runs = createAttentionRuns({ onOpen: open, onCompare: compare });
  const tabs = createTabs({
    views: VIEWS.map((view) => [view, NAMES[view]]),
    panels: Object.fromEntries(VIEWS.map((view) => [view, `da-attention-panel-${view}`])),
    prefix: "da-attention",
    caption: ({ view }) => CAPTIONS[view],
    onView: store.show,
  });
  const copy = copyLinkButton(() => state.data?.run ?? null, "da-plain", linkToAttention);
  const python = pythonButton();
  offerPython("attention", () => state.data && { lines: state.data.run.python, title: `${state.data.title} in Python` });
  const trajectory = el("button", { type: "button", class: "da-plain", onclick: toTrajectory }, "Open in Trajectory");
  const note = createFormNote("attention", { request: props.request, schedulers: props.schedulers, onFill: (id) => onSubmit({ fill: id }) });
  const parts = layout({ start: start.node, note: note.node, python, words, stage, player, film, views, runs, tabs, copy, trajectory });
  const exports = createExportRow(parts.exports, { server, kinds: props.kinds ?? [] });
  element.querySelector(".da-mount").replaceChildren(parts.root);

  function open(id) {
    player.stop();
    store.open(id);
    parts.root.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "nearest" });
  }

  function compare(id) {
    store.set({ other: id });
    store.show("compare");
  }

  async function toTrajectory() {
    const { id } = state;
    try {
      await ask(server, "open", { ids: [id] });
      openRun([id]);
    } catch (error) {
      toast(error.message);
    }
  }

  function render() {
    state = store.state();
    const { root } = parts;
    const { data, busy, view, value } = state;
    root.dataset.status = value?.status ?? "idle";
    root.dataset.view = view;
    const live = busy || (!data && value?.run);
    parts.live.hidden = !live;
    parts.shown.hidden = live || !data;
    parts.empty.hidden = live || Boolean(data) || state.runs === null || state.runs.length > 0;
    parts.reading.hidden = live || Boolean(data) || !parts.empty.hidden || Boolean(state.problem);
    write(parts.problem, (!live && state.problem) || "");
    parts.problem.hidden = !parts.problem.textContent;
    if (live) drawLive(value);
    if (!parts.shown.hidden) drawRun();
    runs.update(state);
    start.update(state.example && !live, state.id);
    parts.acts.hidden = !data || live;
    note.update(live ? null : (data?.run ?? null));
    parts.runsSection.hidden = !state.runs?.length;
    exports.offer(data ? [state.id] : [], data ? state.id : null, data ? `Exports “${data.title}”.` : "");
    parts.after.hidden = !data;
    say();
    return null;
  }

  function drawRun() {
    const { data, at } = state;
    const count = data.tokens.length;
    if (parts.given.dataset.id !== state.id) {
      parts.given.dataset.id = state.id;
      parts.given.replaceChildren(...[givenPictures(data.inputs)].filter(Boolean));
    }
    parts.notes.update(data.notes, data.known);
    for (const note of parts.ofWords) note.hidden = !data.activation;
    words.node.hidden = !data.activation;
    const weights = data.activation?.subarray(at * count, (at + 1) * count) ?? null;
    words.update({ tokens: data.tokens, selected: state.selected, weights });
    stage.update(state);
    player.update(state);
    film.update(state);
    tabs.update({ ...state, layers: [], every: 0, fit: "all", live: null });
    for (const name of VIEWS) parts.panels[name].hidden = name !== state.view;
    views[state.view].update(state);
  }

  function drawLive(value) {
    write(parts.livePrompt, value.run?.prompt || value.prompt);
    parts.liveNotes.update(value.notes, value.run?.known);
    parts.finding.update(value.run);
    parts.liveAbout.hidden = Boolean(value.run?.hosted);
    const source = value.image ?? value.steps.findLast((step) => step.preview)?.preview ?? null;
    parts.liveImage.hidden = !source;
    if (source && parts.liveImage.getAttribute("src") !== source) parts.liveImage.src = source;
  }

  function say() {
    const { value, busy, data } = state;
    const seconds = (performance.now() - began) / 1000;
    const batch = value?.batch && busy ? `Run ${value.batch.number} of ${value.batch.count} · ` : "";
    const failed = value?.status === "failed";
    const told = busy || failed || (!data && value?.run?.hosted) ? batch + sentence(value, seconds) : data ? `${seedWords(data.run.seed)} · guidance ${data.run.guidance_scale} · ${data.run.num_inference_steps} steps` : "";
    write(parts.status, told);
    parts.status.classList.toggle("da-failed", failed && !busy);
  }

  function update() {
    const value = read();
    const another = value.request !== request;
    const first = request === undefined;
    request = value.request;
    if (another) began = performance.now();
    store.receive(value);
    showFieldError(value.error, "attention");
    letStop("attention-stop", BUSY.includes(value.status));
    if (another && !first && !value.error) comeIntoView(parts.root);
  }

  // The list is asked for when the page comes into sight; a run made elsewhere may be in it.
  function inSight() {
    if (currentPage() !== "attention") return;
    const linked = asked ? null : linkedAttention();
    asked = true;
    if (linked) store.open(linked);
    store.refresh();
  }

  setInterval(() => state && BUSY.includes(state.value?.status) && say(), 500);
  parts.root.addEventListener("keydown", (event) => {
    if (!state?.data || event.defaultPrevented || event.target.closest("input, textarea, select, dialog, [role=tab], [role=application]")) return;
    if (event.key === "ArrowRight") player.move(1);
    else if (event.key === "ArrowLeft") player.move(-1);
    else return;
    event.preventDefault();
  });
  onTheme(() => state?.data && render()); // a figure is of one ground
  window.addEventListener("da-page", inSight);
  window.addEventListener("da-attention", ({ detail: { id, other } }) => {
    open(id);
    if (other) compare(other);
  });
  update();
  inSight();
  return update;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function layout({ start, note, python, words, stage, player, film, views, runs, tabs, copy, trajectory }) {
  const status = el("p", { class: "da-status", role: "status", "aria-live": "polite" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const livePrompt = el("p", { class: "da-headline" });
  const liveImage = el("img", { alt: "The latest preview", hidden: "" });
  const liveNotes = createRunNotes("attention-prompt");
  const liveAbout = el("p", { class: "da-caption" }, "Its attention is shown once the run has ended.");
  const finding = createHostedFinding();
  const live = el("div", { class: "da-attention-live", hidden: "" }, livePrompt, liveNotes.node, finding.node, el("div", { class: "da-attention-latest" }, liveImage), liveAbout);
  const empty = el(
    "div",
    { class: "da-attention-empty", hidden: "" },
    el("p", { class: "da-headline" }, "See what each word looks at."),
    el("p", {}, "Type a prompt and press Run. At every step, in every layer, each place of the image reads the words of the prompt with certain weights; here they are laid over the picture that the model has in mind at that step."),
  );
  const reading = el("p", { class: "da-caption" }, "Reading the attention…");
  const panels = Object.fromEntries(
    VIEWS.map((view) => [view, el("div", { class: "da-panel", id: `da-attention-panel-${view}`, role: "tabpanel", "aria-labelledby": `da-attention-tab-${view}`, hidden: "" }, views[view].node)]),
  );
  const ofWords = [
    el("p", { class: "da-caption" }, "Choose a word; several with Ctrl or Shift. The bar under it is how much it is read at this step."),
    el("p", { class: "da-caption" }, "The word’s map over what the model expects to draw, at every captured step. Ringed numbers are spikes."),
  ];
  const given = el("div", { class: "da-run-given" });
  const notes = createRunNotes("attention-prompt");
  const shown = el(
    "div",
    { hidden: "" },
    notes.node,
    given,
    words.node,
    ofWords[0],
    el("div", { class: "da-attention-pair" }, stage.whole, stage.node, stage.side),
    player.node,
    film.node,
    ofWords[1],
    tabs.node,
    tabs.caption,
    el("div", { class: "da-stage" }, ...Object.values(panels)),
  );
  const exports = el("div", { class: "da-exports" });
  const section = (name, title, child) => el("section", { class: `da-section da-section-${name}`, "aria-label": title }, el("h2", {}, title), child);
  const after = el("div", { hidden: "" }, section("exports", "Export", exports));
  const acts = el("span", { hidden: "" }, copy, " ", python, " ", trajectory);
  const runsSection = section("runs", "Runs with attention", runs.node);
  const root = el(
    "div",
    { class: "da-viewer da-attention" },
    el("div", { class: "da-attention-head" }, status, acts),
    start,
    note,
    problem,
    live,
    empty,
    reading,
    shown,
    runsSection,
    after,
  );
  return { root, acts, runsSection, status, problem, live, livePrompt, liveNotes, liveAbout, finding, liveImage, empty, reading, shown, notes, given, ofWords, panels, exports, after };
}
