// What a page shows before anything has run: a recorded example, what one sees in it, and one button that runs it.

import { el, reducedMotion } from "../core/dom.js";

const FRAME = 90; // ms from one step to the next while an example plays

/** A line about the example of a page: `start` has says and action, or is null; `form` is the prefix of the form's ids. */
export function createStart(start, form) {
  const run = el("button", { type: "button", class: "da-start-run", onclick: () => document.getElementById(`${form}-run`)?.click() }, start?.action ?? "");
  const node = el("aside", { class: "da-start", "aria-label": "A recorded example", hidden: "" }, el("p", {}, el("strong", {}, "Recorded earlier. "), start?.says ?? ""), run);

  /** Show it where the example is in sight. */
  function update(shown) {
    node.hidden = !shown;
  }

  return { node, update };
}

/** Play a run's data, RunData of a stored run: `onFrame(data)` is given it step by step, at last the whole.
 *
 * Returns a function that ends the playing at once.
 */
export function play(data, onFrame) {
  const count = data.steps.length;
  let step = 0;
  let timer = 0;
  if (reducedMotion()) {
    onFrame(data);
    return () => {};
  }
  const next = () => {
    step += 1;
    if (step < count) onFrame({ ...data, status: "running", steps: data.steps.slice(0, step), final: null, totals: null, image: null });
    else finish();
  };
  const finish = () => {
    clearInterval(timer);
    onFrame(data);
  };
  timer = setInterval(next, FRAME);
  next();
  return () => step < count && ((step = count), finish());
}
