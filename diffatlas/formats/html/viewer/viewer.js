// A page of one run or two that needs no server: the views of the app's Attention page on the data in this file, with
// the path of the latents, their curves, and every step to scroll through.

import { createAttentionCompare } from "../../../ui/static/attention/attention_compare.js";
import { createAttentionCurves } from "../../../ui/static/attention/attention_curves.js";
import { createAttentionFilm } from "../../../ui/static/attention/attention_film.js";
import { createWordGrid } from "../../../ui/static/attention/attention_grid.js";
import { createPlayer } from "../../../ui/static/attention/attention_player.js";
import { createAttentionFigure } from "../../../ui/static/attention/attention_figure.js";
import { createStage } from "../../../ui/static/attention/attention_stage.js";
import { createSteps } from "../../../ui/static/attention/attention_steps.js";
import { createAttentionStore } from "../../../ui/static/attention/attention_store.js";
import { createWords } from "../../../ui/static/attention/attention_words.js";
import { el, isDark, onTheme } from "../../../ui/static/core/dom.js";
import { seedWords, sizeWords } from "../../../ui/static/core/format.js";
import { givenPictures } from "../../../ui/static/runs/given.js";
import { createSmallFigure } from "../../../ui/static/figures/small_figure.js";
import { createServer, readData } from "./offline.js";
import { createOpening } from "./opening.js";
import { createPathPlot } from "./path_plot.js";
import { createScroller } from "./scroller.js";
import { createTabs } from "../../../ui/static/core/tabs.js";
import { initTips } from "../../../ui/static/core/tips.js";

const NAMES = { words: "Words", steps: "Steps", curves: "Attention", path: "Path", latents: "Latents", compare: "Compare" };
const CAPTIONS = {
  words: "Every word’s map at the chosen step ({word_map|word maps}). Choose one to look at it above.",
  steps: "How much each word is read at each step ({activation|activation}). Choose a cell to go there.",
  curves: "How much each word is read ({activation|activation}), how many tokens a place reads at once ({attention_entropy|entropy}), and at which steps attention moves ({attention_kl|reallocation}).",
  path: "The way of the {latents|latents} from noise to image ({pca|PCA}).",
  latents: "What is measured of the {latents|latents} after every step.",
  compare: "The same word in two runs, and how far apart their attention is ({attention_js|divergence}).",
  beside: "Both runs at the same step.",
};

async function main() {
  const page = document.getElementById("page");
  document.body.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
  try {
    const data = await readData(document.getElementById("data").textContent);
    show(page, data);
    page.before(createOpening({ own: data, onPage: (other) => show(page, other), onNode: (node) => put(page, node) }));
  } catch (error) {
    console.error(error);
    page.replaceChildren(el("p", { class: "da-offline-wait" }, "This page could not be opened: the file is cut off, or the browser is older than 2023."));
  }
}

// What is shown until something else is put in its place.
let inPlace = new AbortController();

function put(page, node) {
  inPlace.abort();
  inPlace = new AbortController();
  page.replaceChildren(node);
}

function show(page, data) {
  initTips(data.glossary);
  const runs = new Map(data.runs.map((run) => [run.id, run]));
  const attended = data.runs.some((run) => run.looks.all);
  const several = data.runs.length > 1;
  const there = [...(attended ? ["words", "steps", "curves"] : []), "path", "latents", ...(several ? ["compare"] : [])];
  let state = null;

  const store = createAttentionStore({ server: createServer(data), onChange: render, views: there });
  const go = (position) => store.go(position);
  const words = createWords({ onSelect: store.choose });
  const stage = createStage({ store });
  const player = createPlayer({ onGo: go });
  const film = createAttentionFilm({ onGo: go });
  const scroller = createScroller({ onGo: go });
  const views = {
    words: createWordGrid({ store, onSelect: store.choose }),
    steps: createSteps({ store, onGo: go, createFigure: createSmallFigure }),
    curves: createAttentionCurves({ store, onGo: go, createFigure: createSmallFigure }),
    path: createPathView({ data, onGo: goTo }),
    latents: createLatents({ data, onGo: go, onRun: store.open }),
    compare: createAttentionCompare({ store, onGo: go, createFigure: createSmallFigure }),
  };
  const tabs = createTabs({
    views: there.map((view) => [view, NAMES[view]]),
    panels: Object.fromEntries(there.map((view) => [view, `da-offline-${view}`])),
    prefix: "da-offline",
    caption: ({ view }) => CAPTIONS[view === "compare" && !attended ? "beside" : view],
    onView: store.show,
  });
  const panels = Object.fromEntries(there.map((view) => [view, el("div", { class: "da-panel", id: `da-offline-${view}`, role: "tabpanel", "aria-labelledby": `da-offline-tab-${view}`, hidden: "" }, views[view].node)]));
  const heads = data.runs.map((run) => createHead(run, several ? () => store.open(run.id) : null));
  const wordsNote = el("p", { class: "da-caption" }, "Choose a word; several with Ctrl or Shift. The bar under it is how much it is read at this step.");
  const root = el(
    "div",
    { class: "da-viewer da-attention da-offline" },
    el("header", { class: "da-offline-head" }, el("p", { class: "da-offline-brand" }, "Diffusion Atlas"), createInkSwitch()),
    el("div", { class: "da-offline-runs" }, ...heads.map((head) => head.node)),
    words.node,
    wordsNote,
    el("div", { class: "da-offline-stage" }, stage.node, scroller.node, el("div", { class: "da-offline-side" }, stage.side, stage.whole)),
    player.node,
    film.node,
    tabs.node,
    tabs.caption,
    el("div", { class: "da-stage" }, ...Object.values(panels)),
    el("footer", { class: "da-footer" }, footnote(data)),
  );
  put(page, root);

  // A state of the path belongs to a run: look at that run, at the step that led there.
  function goTo(run, step) {
    const { id, steps } = data.runs[run];
    if (id !== state.id) store.open(id);
    const at = steps.findIndex((each) => each.index === step - 1);
    if (at >= 0) store.go(at);
  }

  function render() {
    state = store.state();
    const { data: shown, view, at, id } = state;
    if (!shown) return;
    const run = runs.get(id);
    if (several && !state.other) store.set({ other: data.runs.find((each) => each.id !== id).id });
    heads.forEach((head, k) => head.mark(data.runs[k].id === id));
    const count = shown.tokens.length;
    words.node.hidden = wordsNote.hidden = !shown.activation;
    words.update({ tokens: shown.tokens, selected: state.selected, weights: shown.activation?.subarray(at * count, (at + 1) * count) ?? null });
    stage.update(state);
    player.update(state);
    film.update(state);
    scroller.update(state, run.curves);
    tabs.update({ ...state, layers: [], every: 0, fit: "all", live: null });
    for (const name of there) panels[name].hidden = name !== view;
    views[view].update({ ...state, runs: data.runs.map(rowOf) });
  }

  document.addEventListener("keydown", (event) => {
    if (!state?.data || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, [role=tab], [role=application]")) return;
    if (event.key === "ArrowRight") player.move(1);
    else if (event.key === "ArrowLeft") player.move(-1);
    else return;
    event.preventDefault();
  }, { signal: inPlace.signal });
  const { signal } = inPlace;
  onTheme(() => signal.aborted || render()); // a figure is of one ground
  store.open(data.runs[0].id);
  if (several) store.show("compare");
}

const rowOf = (run) => ({ id: run.id, title: run.title, seed: run.run.seed, steps: run.steps.length, prompt: run.run.prompt, attention: run.looks.all?.activation ? "cross" : "self" });

function createHead({ title, run, machine, status, also, notes, inputs }, onOpen) {
  const facts = [seedWords(run.seed), `guidance ${run.guidance_scale}`, `${run.num_inference_steps} steps`, sizeWords(run), run.scheduler, run.model, machine.device, machine.dtype, ...also, status === "complete" ? null : status];
  const name = onOpen ? el("button", { type: "button", class: "da-offline-open", dir: "auto", onclick: onOpen }, title) : el("span", { dir: "auto" }, title);
  const negative = run.negative_prompt ? `not: ${run.negative_prompt}` : null;
  const node = el("div", { class: "da-offline-run" }, el("h1", {}, name), el("p", {}, [...facts, negative].filter(Boolean).join(" · ")), ...notes.map((text) => el("p", {}, text)), givenPictures(inputs));
  return {
    node,
    mark(shown) {
      node.classList.toggle("da-active", shown && Boolean(onOpen));
      if (onOpen) name.setAttribute("aria-pressed", String(shown));
    },
  };
}

function createInkSwitch() {
  const button = el("button", { type: "button", class: "da-plain", onclick: () => name(document.body.classList.toggle("dark")) });
  const name = (dark) => (button.textContent = dark ? "Light" : "Dark");
  name(document.body.classList.contains("dark"));
  return button;
}

function createPathView({ data, onGo }) {
  if (!data.path) return { node: el("p", { class: "da-caption" }, data.why_no_path), update() {} };
  const plot = createPathPlot({ path: data.path, names: data.runs.map((run) => `${run.title}, ${seedWords(run.run.seed)}`), onGo });
  return {
    node: plot.node,
    update({ step }) {
      plot.mark(data.runs.map((run) => (run.steps.some((each) => each.index === step.index) ? step.index + 1 : null)));
    },
  };
}

// The measures of the latents: a line for each run.
function createLatents({ data, onGo, onRun }) {
  if (!data.latents) return { node: el("p", { class: "da-caption" }, "The latents were not captured, so nothing is measured of them."), update() {} };
  const figure = createAttentionFigure({ createFigure: createSmallFigure, onGo, onLine: onRun });
  return { node: figure.node, update: (state) => figure.update(data.latents[isDark() ? "dark" : "light"], state) };
}

function footnote({ runs, cells }) {
  const most = (name) => Math.max(...runs.map((run) => run[name]));
  const maps = runs.some((run) => run.looks.all?.maps);
  const parts = ["Made with Diffusion Atlas; this file needs no server and fetches nothing."];
  if (maps) parts.push(`Maps are means over the layers, at most ${cells} cells long, rounded to 1/255 of each map’s largest value; all other numbers are those of the run, to six digits.`);
  if (most("padding_left")) parts.push(`Maps of ${most("padding_left")} padding tokens are left out; they count in entropy and reallocation.`);
  if (most("words_left")) parts.push(`The prompt is long: the last ${most("words_left")} of its tokens are not among the words here.`);
  for (const { title, run, steps, curves, looks } of runs) {
    if (looks.all && steps.length < curves.steps.length) parts.push(`Of ${title}, ${seedWords(run.seed)}, the ${steps.length} steps with attention are shown, of ${curves.steps.length}.`);
  }
  return parts.join(" ");
}

main();
