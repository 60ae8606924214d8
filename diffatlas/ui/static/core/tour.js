// A tour of five stops, one a page, past the recorded examples: begun in the header, left at any time.

import { el, reducedMotion } from "./dom.js";
import { currentPage, isHidden, showPage } from "./pages.js";

const STOPS = [
  ["trajectory", "The film", "Each frame is the model’s guess of the finished image at one step, from noise to picture. The first few steps decide where things are; the rest sharpens. Choose a frame to see the numbers of its step.", ".da-film"],
  ["sweep", "What guidance does", "The same noise under five guidance values. Below each picture stands how far it lies from the baseline. Drift shows where it begins to break.", ".da-study-grid"],
  ["neighbourhood", "What lies next door", "Pictures grown from noise around one seed’s own. Map and Growth say where small changes make another picture.", ".da-study-grid"],
  ["attention", "What each word looks at", "Choose a word: its map shows where the picture read it, over the whole run and step by step.", ".da-attention-pair"],
  ["lab", "The same in the plane", "A small network, trained on points where the exact answer is known: every error can be seen and measured.", ".da-lab"],
];

let begun = false;

/** Listen to the button in the header. Every mount may call it; the first call counts. */
export function initTour() {
  if (begun) return;
  begun = true;
  document.addEventListener("click", (event) => event.target instanceof Element && event.target.closest(".da-tour-begin") && begin());
}

let end = null; // ends the tour that is under way

function begin() {
  end?.();
  const stops = STOPS.filter(([page]) => !isHidden(page));
  let at = 0;
  let marked = null;
  const count = el("p", { class: "da-tour-count" });
  const title = el("h2", { tabindex: -1 });
  const text = el("p", {});
  const back = el("button", { type: "button", class: "da-button", onclick: () => go(at - 1) }, "Back");
  const next = el("button", { type: "button", class: "da-button da-first", onclick: () => (at + 1 < stops.length ? go(at + 1) : leave()) });
  const close = el("button", { type: "button", class: "da-plain", onclick: () => leave() }, "End the tour");
  const node = el("section", { class: "da-tour", role: "dialog", "aria-label": "Tour" }, count, title, text, el("div", { class: "da-tour-acts" }, back, next, close));
  const escape = (event) => event.key === "Escape" && !event.defaultPrevented && leave();
  // Whoever turns to another page goes on by themselves.
  const turned = () => currentPage() !== stops[at][0] && leave();

  function leave() {
    marked?.classList.remove("da-tour-here");
    node.remove();
    window.removeEventListener("keydown", escape);
    window.removeEventListener("da-page", turned);
    end = null;
    document.querySelector(".da-tour-begin")?.focus({ preventScroll: true });
  }

  function go(to) {
    at = to;
    const [page, name, about, target] = stops[at];
    if (currentPage() !== page) showPage(page);
    count.textContent = `${at + 1} of ${stops.length}`;
    title.textContent = name;
    text.textContent = about;
    back.disabled = at === 0;
    next.textContent = at + 1 < stops.length ? "Next" : "Done";
    mark(page, target);
    title.focus({ preventScroll: true });
  }

  function mark(page, target) {
    marked?.classList.remove("da-tour-here");
    marked = document.querySelector(`.da-page-${page} ${target}`);
    marked?.classList.add("da-tour-here");
    marked?.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "center" });
  }

  end = leave;
  window.addEventListener("keydown", escape);
  window.addEventListener("da-page", turned);
  document.body.append(node);
  go(0);
}
