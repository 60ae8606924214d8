// Pages and links: which page is shown, what an address presets, and the address of a run.
//
// Only what is named here goes into an address: never a key, never the rest of the form.

import { el, setInput, whenThere } from "./dom.js";
import { toast } from "./toast.js";

const ALL = ["trajectory", "sweep", "neighbourhood", "attention", "bench", "lab", "library", "settings"];
// Those that there are, the first one first: a workshop says which.
const there = document.querySelector('meta[name="diffatlas-pages"]')?.content.split(",");
const PAGES = there ?? ALL;
// A field of the forms of all pages.
const onEveryForm = (name) => ["field", "sweep", "neighbourhood", "attention", "bench"].map((page) => `#${page}-${name}`).join(", ");
/** What `hide=` in an address may name, and what that takes away. */
const HIDEABLE = {
  library: '.da-nav [data-page="library"], .da-page-library',
  settings: '.da-nav [data-page="settings"], .da-page-settings',
  sweep: '.da-nav [data-page="sweep"], .da-page-sweep',
  neighbourhood: '.da-nav [data-page="neighbourhood"], .da-page-neighbourhood',
  attention: '.da-nav [data-page="attention"], .da-page-attention',
  bench: '.da-nav [data-page="bench"], .da-page-bench',
  lab: '.da-nav [data-page="lab"], .da-page-lab',
  export: ".da-section-exports",
  compare: ".da-section-compare",
  layers: ".da-section-layers",
  deep: ".da-deep",
  presets: ".da-presets, .da-form > .da-hint",
  picture: ".da-from-picture",
  more: ".da-fold",
  model: onEveryForm("model"),
  seed: ".da-seed",
  steps: onEveryForm("num_inference_steps"),
  guidance: `${onEveryForm("guidance_scale")}, ${onEveryForm("guides")}`,
  size: onEveryForm("size"),
  pca: '.da-tab[data-view="pca"]',
  umap: '.da-tab[data-view="umap"]',
  curves: '.da-tab[data-view="curves"]',
  links: ".da-copy-link",
  tour: ".da-tour-begin",
};
const WORKSHOP_HIDES = ["library", "settings", "sweep", "neighbourhood", "attention", "bench", "lab", "export", "compare", "deep", "presets", "more"];
// Of an address, what stays when the page changes.
const STAYS = ["workshop", "prompts", "lesson", "hide", "__theme"];
const TITLES = {
  trajectory: "Diffusion Atlas",
  sweep: "Guidance Sweep · Diffusion Atlas",
  neighbourhood: "Latent Neighbourhood · Diffusion Atlas",
  attention: "Attention · Diffusion Atlas",
  bench: "Compositional Bench · Diffusion Atlas",
  lab: "2D Lab · Diffusion Atlas",
  library: "Library · Diffusion Atlas",
  settings: "Settings · Diffusion Atlas",
};
const NAMES = Object.fromEntries(ALL.map((name) => [name, name === "lab" ? "2D Lab" : name[0].toUpperCase() + name.slice(1)]));
const MOST_PROMPTS = 40;
const MOST_PROMPT = 300;
const MOST_LESSON = 2000;

let begun = false;
let page = PAGES[0];
let hidden = [];

/** Show the page of the address, and listen to the navigation. Every mount may call it; the first call counts. */
export function initPages() {
  if (begun) return;
  begun = true;
  const early = window.diffatlasEarly;
  window.diffatlasEarly = null;
  const query = new URLSearchParams(location.search);
  hidden = hiddenBy(query);
  hide();
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest(".da-nav button[data-page]");
    if (button && PAGES.includes(button.dataset.page)) showPage(button.dataset.page);
  });
  window.addEventListener("popstate", () => turnTo(pageOf(new URLSearchParams(location.search))));
  whenThere(".da-nav", mark);
  whenThere(".da-header", (header) => workshop(header, query));
  turnTo(pageOf(query));
  if (early && PAGES.includes(early) && !isHidden(early)) showPage(early);
}

/** The page in sight. */
export const currentPage = () => page;

/** Whether `hide=` in the address, or a workshop, takes this away. */
export const isHidden = (name) => hidden.includes(name) || isAbsent(name);

const isAbsent = (name) => ALL.includes(name) && !PAGES.includes(name);

/** What the address asks to be opened as a layer or in the Library: the id of a run, or null. */
export function linkedRun() {
  const query = new URLSearchParams(location.search);
  return query.get("page") === "attention" ? null : query.get("run");
}

/** What the address asks to be opened on the page `operation`: the id of a study, or null. */
export function linkedStudy(operation) {
  const query = new URLSearchParams(location.search);
  return query.get("page") === operation ? query.get("study") : null;
}

/** What the address asks the Bench page to open: the id of a bench, or null. */
export function linkedBench() {
  const query = new URLSearchParams(location.search);
  return query.get("page") === "bench" ? query.get("bench") : null;
}

/** What the address asks the Attention page to open: the id of a run, or null. */
export function linkedAttention() {
  const query = new URLSearchParams(location.search);
  return query.get("page") === "attention" ? query.get("run") : null;
}

/** Go to a page; the Back button comes back. `run` is named in the address. */
export function showPage(next, { run = null } = {}) {
  if (isAbsent(next)) {
    toast(`The page for this (${NAMES[next]}) is not part of this workshop.`);
    return;
  }
  const query = new URLSearchParams();
  const old = new URLSearchParams(location.search);
  query.set("page", next);
  if (run) query.set("run", run);
  for (const name of STAYS) if (old.has(name)) query.set(name, old.get(name));
  if (query.toString() !== old.toString()) history.pushState(null, "", `?${query}`);
  turnTo(next);
}

/** Show runs that have become layers on the Trajectory page: an id or several. */
export function openRun(ids) {
  const all = [ids].flat();
  window.dispatchEvent(new CustomEvent("da-open", { detail: { ids: all } }));
  showPage("trajectory", { run: all.length === 1 ? all[0] : null });
}

/** Show the attention of a run on the Attention page, and of a second one beside it. */
export function openAttention([id, other = null]) {
  showPage("attention", { run: id });
  window.dispatchEvent(new CustomEvent("da-attention", { detail: { id, other } }));
}

/** The address of a run: it opens the run where that is kept, and fills the form with its settings everywhere.
 *
 * `run` has id and query: what a link asks for, by name, as the server says it.
 */
function linkTo(run) {
  return addressOf([["page", "trajectory"], ["run", run.id], ...Object.entries(run.query ?? {})]);
}

/** The address of a run's attention. */
export function linkToAttention(run) {
  return addressOf([["page", "attention"], ["run", run.id], ...Object.entries(run.query ?? {})]);
}

/** The address of a study: it opens the study where that is kept. `query` is that of what it varies. */
export function linkToStudy({ id, operation, query }) {
  return addressOf([["page", operation], ["study", id], ...Object.entries(query ?? {})]);
}

/** The address of a bench: it opens the bench where that is kept, and fills the form with what it asked. */
export function linkToBench({ id, query }) {
  return addressOf([["page", "bench"], ["bench", id], ...Object.entries(query)]);
}

function addressOf(fields) {
  const told = fields.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const address = new URL(location.pathname, location.origin);
  address.search = new URLSearchParams(told.map(([name, value]) => [name, String(value)])).toString();
  return address.href;
}

/** A button that copies `address` of `getRun()`; null hides nothing, it only does nothing. */
export function copyLinkButton(getRun, className = "da-plain", address = linkTo) {
  const button = el("button", { type: "button", class: `${className} da-copy-link` }, "Copy link");
  let timer = 0;
  button.addEventListener("click", async () => {
    const run = getRun();
    if (!run) return;
    const done = await copy(address(run), button);
    button.textContent = done ? "Copied" : "Not copied";
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = "Copy link"), 2000);
  });
  button.setAttribute("aria-live", "polite");
  const what = address === linkToStudy ? "study" : address === linkToBench ? "bench" : "run";
  button.title = `Copy an address that opens this ${what}, or fills the form with its settings where the ${what} is not kept`;
  return button;
}

/** Type text into a field of the form, as a visitor would. */
function fillField(id, text) {
  const field = document.querySelector(`#field-${id} :is(textarea, input)`);
  if (field) setInput(field, text);
}

function turnTo(next) {
  const other = next !== page;
  page = next;
  document.body.dataset.page = page;
  document.title = TITLES[page];
  mark();
  window.dispatchEvent(new CustomEvent("da-page", { detail: { page } }));
  if (other) window.scrollTo(0, 0);
}

function mark() {
  for (const button of document.querySelectorAll(".da-nav button[data-page]")) {
    if (button.dataset.page === page) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

function pageOf(query) {
  const asked = query.get("page");
  return PAGES.includes(asked) && !hidden.includes(asked) ? asked : PAGES[0];
}

function hiddenBy(query) {
  const named = query.get("hide");
  const names = named === null ? (query.get("workshop") === "1" ? WORKSHOP_HIDES : []) : named.split(",");
  return names.map((name) => name.trim()).filter((name) => Object.hasOwn(HIDEABLE, name));
}

function hide() {
  if (!hidden.length && PAGES.length > 1) return;
  // A way to one page alone is none.
  const alone = PAGES.slice(1).every(isHidden);
  const selectors = [...hidden.map((name) => HIDEABLE[name]), ...(alone ? [".da-nav"] : [])].join(", ");
  document.head.append(el("style", { id: "da-hide" }, `:is(${selectors}) { display: none !important; }`));
}

// The lesson and the prompts of a workshop. They come from an address: plain text, and not too much of it.
function workshop(header, query) {
  if (query.get("workshop") !== "1") return;
  const lesson = (query.get("lesson") ?? "").slice(0, MOST_LESSON).trim();
  const texts = (query.get("prompts") ?? "").split("|").map((text) => text.trim().slice(0, MOST_PROMPT));
  const prompts = texts.filter(Boolean).slice(0, MOST_PROMPTS);
  if (!lesson && !prompts.length) return;
  const choose = (text) => {
    fillField("prompt", text);
    document.querySelector("#field-prompt :is(textarea, input)")?.focus();
  };
  const buttons = prompts.map((text) =>
    el("li", {}, el("button", { type: "button", class: "da-workshop-prompt", dir: "auto", onclick: () => choose(text) }, text)),
  );
  header.after(
    el(
      "section",
      { class: "da-workshop", "aria-label": "Lesson" },
      lesson ? el("p", { class: "da-workshop-lesson", dir: "auto" }, lesson) : null,
      prompts.length ? el("p", { class: "da-workshop-about" }, "Prompts of this workshop. Choose one, then press Run.") : null,
      prompts.length ? el("ul", { class: "da-workshop-prompts" }, ...buttons) : null,
    ),
  );
}

/** Copy text to the clipboard; whether that was done. `near` keeps the focus. */
export async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure address there is no clipboard but this one; it must lie where it can be selected.
    const home = near.closest("dialog") ?? document.body;
    const field = el("textarea", { readonly: "", class: "da-offscreen", "aria-hidden": "true", tabindex: -1 });
    field.value = text;
    home.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    near.focus();
    return done;
  }
}
