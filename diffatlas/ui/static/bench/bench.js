// The Bench page: a pack of prompts, its images as they come, what scorers say of them, and what a person does.

import { ask } from "../core/ask.js";
import { comeIntoView } from "../core/come_into_view.js";
import { el } from "../core/dom.js";
import { copyLinkButton, currentPage, initPages, linkedBench, linkToBench } from "../core/pages.js";
import { remember, remembered } from "../core/remember.js";
import { BUSY } from "../core/state.js";
import { createTabs } from "../core/tabs.js";
import { initTips } from "../core/tips.js";
import { toast } from "../core/toast.js";
import { initCarry } from "../form/carry.js";
import { showFieldError } from "../form/field_error.js";
import { initGuidanceValues } from "../form/guidance_values.js";
import { letStop } from "../form/stop_button.js";
import { createRunNotes } from "../runs/run_notes.js";
import { createShelf } from "../runs/shelf.js";
import { createBoards } from "./board_view.js";
import { createCard } from "./bench_card.js";
import { createCards } from "./bench_cards.js";
import { createBenchFiles } from "./bench_files.js";
import { createJudges } from "./bench_judges.js";
import { createBenchLanes } from "./bench_lanes.js";
import { createMarks } from "./bench_marks.js";
import { createResults } from "./bench_results.js";
import { createBenchStore } from "./bench_store.js";
import { createWhy } from "./bench_why.js";
import { missingOf, standing } from "./bench_words.js";
import { createPacks } from "./pack_view.js";

const VIEWS = [["results", "Results"], ["cards", "Cards"], ["compare", "Compare"], ["why", "Why"], ["pack", "Pack"]];

const BENCHES = {
  noun: "bench",
  unit: "image",
  kept: "Their runs are in the Library. A bench that is deleted goes to the Trash there; its runs stay.",
  none: "There is none yet. Every bench is kept here, with its runs in the Library.",
  tells: ({ lanes }) => lanes.join(", "),
};
const OF_BENCH = ["results", "cards", "why"]; // views of the bench in sight

/** Mount the page in `element`.
 *
 * `read()` returns the current value of the bench that runs here; `props` has glossary, scorers [{name, about}] and files
 * [{key, label, about, of_lane}]; `onSubmit(asked)` hands what `diffatlas.ui.wire.bench.BenchSubmitted` has to the page. Returns a function to call when the value has changed.
 */
export function mount(element, read, server, props, onSubmit = () => {}) {
  initPages();
  initCarry("bench", onSubmit, props.request);
  initTips(props.glossary);
  initGuidanceValues();

  let state = null;
  let request; // none before the first value
  let began = performance.now();

  const store = createBenchStore({ server, views: VIEWS.map(([view]) => view), onChange: render });
  const copy = copyLinkButton(() => state.bench, "da-plain", linkToBench);
  const tabs = createTabs({
    views: VIEWS,
    panels: Object.fromEntries(VIEWS.map(([view]) => [view, `da-bench-panel-${view}`])),
    prefix: "da-bench",
    caption: explain,
    onView: store.show,
  });
  const parts = layout(tabs, copy);
  element.querySelector(".da-mount").replaceChildren(parts.root);
  const retry = (keys) => keys.length && onSubmit({ retry: keys, id: state.bench.id });
  const lanes = createBenchLanes(parts.lanes, { onStop: stopLane, onRetry: retry });
  const marks = createMarks({ server, store, onSaid: (words) => write(parts.marked, words), onSaving: (saving) => parts.root.toggleAttribute("data-saving", saving) });
  const cards = createCards(parts.panels.cards, { server, store, marks, onChoose: store.choose, onOpen: (key) => key && card.open(key) });
  const card = createCard({ server, store, marks, deck: cards.deck, isBlind: cards.isBlind, onChoose: store.choose, onSubmit });
  const results = createResults(parts.panels.results, { server, onTag: (tag, lane) => (cards.only(tag, lane), store.show("cards")) });
  const boards = createBoards(parts.panels.compare, { server, onOpen: open });
  const packs = createPacks(parts.panels.pack, { server, onRun: runPack });
  const judges = createJudges(parts.judges, { server, scorers: props.scorers, onThreshold: store.refetch, onJudge: (names, again) => onSubmit({ judge: names, again, id: state.bench.id }) });
  const files = createBenchFiles(parts.files, { server, kinds: props.files });
  const why = createWhy(parts.panels.why, { server });
  const shelf = createShelf(parts.shelf, {
    kind: BENCHES,
    list: async () => (await ask(server, "benches", {})).benches,
    rename: (id, title) => ask(server, "rename_bench", { id, title }),
    forget: (id) => ask(server, "forget_bench", { id }),
    restore: (id) => ask(server, "restore_bench", { id }),
    onOpen: open,
    onRenamed: store.retitle,
    onForgotten: store.drop,
  });

  function render() {
    state = store.state();
    const { root } = parts;
    root.dataset.status = state.status;
    root.dataset.view = state.view;
    root.classList.toggle("da-empty", !state.bench);
    tabs.update({ view: state.view, layers: [], live: null, every: 0, fit: "all", bench: state.bench });
    for (const [name, panel] of Object.entries(parts.panels)) panel.hidden = name !== state.view;
    lanes.update(state);
    boards.update(state);
    packs.update(state);
    results.update(state);
    cards.update(state);
    card.update();
    judges.update(state);
    why.update(state);
    files.update(state);
    // What is done with the bench in sight, where that is what is looked at.
    parts.judgesBox.hidden = parts.filesBox.hidden = !state.bench || !OF_BENCH.includes(state.view);
    parts.notes.update(state.live?.notes ?? [], state.live?.known ?? []);
    shelf.mark(state.bench?.id ?? null);
    copy.hidden = !state.bench;
    parts.empty.hidden = Boolean(state.bench) || state.busy;
    parts.back.hidden = !state.away;
    write(parts.problem, state.problem ?? "");
    parts.problem.hidden = !state.problem;
    const missing = missingOf(state);
    parts.resume.hidden = state.busy || !missing.length;
    write(parts.resume, `Resume: ${missing.length} left`);
    if (state.bench) remember("bench", state.bench.id);
    say();
  }

  function update() {
    const value = read();
    const another = value.request !== request;
    const first = request === undefined;
    const ended = !first && state?.busy && !BUSY.includes(value.status);
    request = value.request;
    if (another) began = performance.now();
    store.receive(value);
    if (another && !first && value.status !== "idle" && !value.error) comeIntoView(parts.root);
    if (another || ended) shelf.refresh();
    showFieldError(value.error, "bench");
    letStop("bench-stop", BUSY.includes(value.status));
  }

  async function open(id) {
    if (await store.open(id)) onSubmit({ open: id }); // the form is filled with what it asked
  }

  function runPack(name) {
    onSubmit({ pack: name });
    toast(`The form asks for “${name}”: press Run.`);
    document.getElementById("bench-pack")?.scrollIntoView({ block: "center" });
  }

  async function stopLane(lane) {
    try {
      await ask(server, "stop_bench_lane", { id: state.bench.id, lane });
    } catch (error) {
      toast(error.message);
    }
  }

  function say() {
    write(parts.headline, state.bench?.title ?? "");
    write(parts.status, standing(state, (performance.now() - began) / 1000));
    parts.status.classList.toggle("da-failed", state.status === "failed");
  }

  parts.back.addEventListener("click", () => store.back());
  parts.resume.addEventListener("click", () => retry(missingOf(state)));
  setInterval(() => {
    if (!state?.busy) return;
    say();
    cards.tick();
  }, 500);
  update();
  const linked = linkedBench();
  let last = remembered("bench", null, null);
  // Fetched when the page is first turned to: the bench that was in sight before a reload.
  const begin = () => {
    if (currentPage() !== "bench") return;
    const before = linked ?? last;
    last = null;
    if (before && !store.state().bench) store.open(before, before !== linked);
  };
  window.addEventListener("da-page", begin);
  begin();
  return update;
}

// A line about each view.
function explain({ view }) {
  switch (view) {
    case "results":
      return "How many images show what their prompts demand, by category. The intervals are over prompts: the images of one prompt are not independent.";
    case "cards":
      return "Every image and what is said of it. A mark by hand counts in the place of what scorers say, and is kept beside it.";
    case "compare":
      return "Benches of the same prompts, held against each other.";
    case "why":
      return "What the paths of failed images have that those of others have not.";
    default:
      return "The prompts, and what each demands.";
  }
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function layout(tabs, copy) {
  const panels = Object.fromEntries(
    VIEWS.map(([view]) => [view, el("div", { class: `da-panel da-bench-${view}`, id: `da-bench-panel-${view}`, role: "tabpanel", "aria-labelledby": `da-bench-tab-${view}`, hidden: "" })]),
  );
  const status = el("p", { class: "da-status", role: "status", "aria-live": "polite" });
  const headline = el("p", { class: "da-headline", dir: "auto", "data-begin": "Choose a pack and press Run." });
  const back = el("button", { type: "button", class: "da-plain", hidden: "" }, "Back to what runs");
  const resume = el("button", { type: "button", class: "da-plain da-bench-resume", hidden: "" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const notes = createRunNotes("bench-pack");
  const lanes = el("div", { class: "da-study-lanes" });
  const begin = el("button", { type: "button", class: "da-start-run", onclick: () => document.getElementById("bench-run")?.click() }, "Begin with a small pack");
  const empty = el(
    "aside",
    { class: "da-start da-bench-empty" },
    el("p", {}, el("strong", {}, "Does the picture show what was asked? "), "A pack is a list of prompts of which each says what its picture must show. They are run with several seeds, judged by scorers and by you, and counted. Six prompts with two seeds take some ten seconds."),
    begin,
  );
  // What was done by a key is said where a screen reader hears it.
  const marked = el("p", { class: "da-offscreen", role: "status", "aria-live": "polite" });
  const section = (name, title, ...children) => el("section", { class: `da-section da-section-${name}`, "aria-label": title, hidden: "" }, el("h2", {}, title), ...children);
  const judges = el("div", {});
  const judgesBox = section("judges", "Judge again", judges);
  const files = el("div", {});
  const filesBox = section("bench-files", "Export", files);
  const summary = (head, about) => el("summary", {}, el("span", { class: "da-deep-head" }, head), el("span", { class: "da-deep-about" }, about));
  const shelf = el("details", { class: "da-shelf" }, summary("Earlier benches", "kept in the Library, and opened here"));
  const root = el(
    "div",
    { class: "da-viewer da-study da-bench" },
    el("div", { class: "da-masthead" }, headline, el("div", { class: "da-masthead-side" }, status, resume, back, copy)),
    empty,
    problem,
    notes.node,
    lanes,
    tabs.node,
    tabs.caption,
    el("div", { class: "da-stage" }, ...Object.values(panels)),
    marked,
    judgesBox,
    filesBox,
    shelf,
  );
  return { root, panels, status, headline, back, resume, problem, notes, lanes, empty, marked, judges, judgesBox, files, filesBox, shelf };
}
