// The guidance values that a form offers beside its number: press one to take it; what is typed marks its own.

import { setInput } from "../core/dom.js";

const OTHER = "A value of your own; press one of these to read what it usually does.";

let begun = false;

/** Listen to the values of all forms. Every mount may call it; the first call counts. */
export function initGuidanceValues() {
  if (begun) return;
  begun = true;
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("[data-guide]");
    if (button) take(button);
  });
  document.addEventListener("input", (event) => {
    const field = event.target instanceof Element && event.target.closest('[id$="-guidance_scale"]');
    if (field) mark();
  });
  // The model, a link or a run in view may have set the number, and the values are drawn anew with the model.
  window.addEventListener("diffatlas-guidance", () => requestAnimationFrame(mark));
  let asked = false;
  new MutationObserver(() => {
    if (asked) return;
    asked = true;
    setTimeout(() => {
      asked = false;
      mark();
    }, 200);
  }).observe(document.body, { childList: true, subtree: true });
  mark();
}

const inputOf = (group) => document.querySelector(`#${group.dataset.page}-guidance_scale input`);

function take(button) {
  const input = inputOf(button.parentNode);
  if (input) setInput(input, button.dataset.guide);
  mark();
}

function mark() {
  for (const group of document.querySelectorAll(".da-guides")) {
    const text = inputOf(group)?.value ?? "";
    let about = text === "" ? "" : OTHER;
    for (const button of group.children) {
      const same = text !== "" && Number(text) === Number(button.dataset.guide);
      if (button.getAttribute("aria-pressed") !== String(same)) button.setAttribute("aria-pressed", String(same));
      if (same) about = button.dataset.about;
    }
    const line = group.parentNode.querySelector(".da-guide-about");
    if (line && line.textContent !== about) line.textContent = about;
  }
}
