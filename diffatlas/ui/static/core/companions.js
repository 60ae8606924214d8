// A paperclip and a terminal, which come when `clippy` or `hackerman` is typed outside a field, and go when dismissed.

import { el, reducedMotion, svg } from "./dom.js";
import { currentPage } from "./pages.js";

const NAMES = { clippy: paperclip, hackerman: terminal };
const LONGEST = Math.max(...Object.keys(NAMES).map((name) => name.length));
const STAYS = 14_000; // ms from one remark to the next
const LETTER = 24; // ms
const FORMS = { trajectory: "field" }; // the others are called as their page

const OF_PAGES = {
  trajectory: ["It looks like you are removing noise. Would you like to keep some?", "The early steps decide. The late ones take the credit."],
  sweep: ["Five guidance values, one noise. The noise did nothing wrong.", "Somewhere in this row the model stops listening and starts shouting."],
  neighbourhood: ["You moved the noise a little. In high dimensions everybody is a neighbour, and nobody is near.", "Between two seeds lies a third picture that nobody asked for."],
  attention: ["Some words look at everything. “a” has been staring at the background again.", "That a word looked there does not mean that it mattered there. I would know."],
  lab: ["Two dimensions. At last, everything is on screen.", "The exact answer is known here. It makes the network nervous."],
  library: ["Everything you ever ran, sorted by date rather than by regret.", "You could name these. Future you is reading over my shoulder."],
};
const OF_ANY = ["A latent is a picture that keeps its options open.", "PCA shows three dimensions. The others send their regards.", "I was denoised from a paperclip factory. It had one mode.", "UMAP says that we are close. UMAP says that to everybody."];

let begun = false;
let end = null; // sends away who is there

/** Listen for the names. Every mount may call it; the first call counts. */
export function initCompanions() {
  if (begun) return;
  begun = true;
  let typed = "";
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && end && !event.defaultPrevented) return end();
    const inField = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable], dialog");
    if (inField || event.ctrlKey || event.metaKey || event.altKey || event.key.length !== 1) return undefined;
    typed = (typed + event.key.toLowerCase()).slice(-LONGEST);
    const name = Object.keys(NAMES).find((each) => typed.endsWith(each));
    if (!name) return undefined;
    typed = "";
    return come(name);
  });
}

function come(name) {
  end?.();
  const { node, stop } = NAMES[name]();
  document.body.append(node);
  end = () => {
    stop();
    node.remove();
    end = null;
  };
}

const asked = () => window.diffatlasForms?.[FORMS[currentPage()] ?? currentPage()] ?? {};

/** What it thinks of what one is doing: of the form's values first, then of the page, then of anything. */
function remarks(page, values) {
  const found = [];
  const [guidance, steps] = [Number(values.guidance), Number(values.steps)];
  if (/\bclippy\b|paperclip/i.test(values.prompt ?? "")) found.push("You prompted for me. I am flattered, and out of distribution.");
  if (guidance > 12) found.push(`Guidance ${values.guidance}. The picture will do exactly as it is told, and look like it.`);
  if (values.guidance !== undefined && guidance <= 1) found.push("Guidance is off. The prompt is a suggestion now.");
  if (steps > 100) found.push(`${values.steps} steps. Most of them will nod and change nothing.`);
  if (steps > 0 && steps < 5) found.push(`${values.steps} steps. Brave.`);
  return [...found, ...(OF_PAGES[page] ?? []), ...OF_ANY];
}

function paperclip() {
  const text = el("p", { role: "status" });
  const node = el("aside", { class: "da-companion da-clippy", "aria-label": "A paperclip" }, el("div", { class: "da-companion-says" }, text, closing()), clip());
  let said = [];
  const say = () => {
    const open = remarks(currentPage(), asked()).filter((each) => !said.includes(each));
    if (!open.length) said = [];
    const next = open[0] ?? OF_ANY[0];
    said.push(next);
    text.textContent = next;
  };
  say();
  const timer = setInterval(say, STAYS);
  window.addEventListener("da-page", say);
  const stop = () => {
    clearInterval(timer);
    window.removeEventListener("da-page", say);
  };
  return { node, stop };
}

function terminal() {
  const { prompt, seed, steps, guidance, model } = asked();
  const lines = [
    "> locating latent space … found it between two pixels",
    model ? `> model ${model} answers` : "> no model on this page, improvising",
    prompt ? `> payload: "${prompt}"` : null,
    seed !== undefined && seed !== "" ? `> seed ${seed} guessed at the first try` : null,
    steps ? `> ${steps} steps, nobody will suspect a thing` : null,
    guidance ? `> guidance raised to ${guidance}, the unconditional is being outvoted` : null,
    "> bypassing the VAE … it was open all along",
    "> access granted. Everything here is public and under the MIT licence.",
  ].filter(Boolean);
  const screen = el("pre", {});
  const node = el("aside", { class: "da-companion da-hackerman", "aria-label": "A terminal" }, screen, closing());
  const whole = lines.join("\n");
  let shown = reducedMotion() ? whole.length : 0;
  screen.textContent = whole.slice(0, shown);
  const timer = setInterval(() => {
    if (shown >= whole.length) return clearInterval(timer);
    shown += 1;
    screen.textContent = whole.slice(0, shown);
    return undefined;
  }, LETTER);
  return { node, stop: () => clearInterval(timer) };
}

const closing = () => el("button", { type: "button", class: "da-plain", onclick: () => end?.() }, "Dismiss");

function clip() {
  return svg(
    "svg",
    { viewBox: "0 0 60 110", class: "da-clip", "aria-hidden": "true" },
    svg("path", { d: "M42 34V84a14 14 0 0 1-28 0V26a10 10 0 0 1 20 0V78a5 5 0 0 1-10 0V38" }),
    ...[17, 37].map((x) => svg("circle", { cx: x, cy: 40, r: 6.5, class: "da-clip-eye" })),
    ...[18.5, 38.5].map((x) => svg("circle", { cx: x, cy: 41.5, r: 2.6, class: "da-clip-pupil" })),
    svg("path", { d: "M10 30q6 -5 12 -2M32 28q6 -3 12 2", class: "da-clip-brow" }),
  );
}
