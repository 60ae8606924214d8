// What a page shows before anything has run: a recorded example, what one sees in it, and one button that runs it.

import { el, reducedMotion } from "../core/dom.js";

const FRAME = 90; // ms from one step to the next while an example plays

/** A line about the example of a page: `start` has says, action and others, or is null; `form` is the prefix of the
 * form's ids. `onOpen(id)` shows another of the recorded runs, [{id, name, says}]. */
export function createStart(start, form, onOpen = null) {
  const run = el("button", { type: "button", class: "da-start-run", onclick: () => document.getElementById(`${form}-run`)?.click() }, start?.action ?? "");
  const says = el("span", {}, start?.says ?? "");
  const others = onOpen ? (start?.others ?? []) : [];
  const all = others.length ? [{ id: start.id, name: "The first recorded run", says: start.says }, ...others] : [];
  const buttons = all.map(({ id, name }) => el("button", { type: "button", class: "da-plain da-start-other", onclick: () => onOpen(id) }, name));
  const node = el("aside", { class: "da-start", "aria-label": "A recorded example", hidden: "" }, el("p", {}, el("strong", {}, "Recorded earlier. "), says, ...buttons.flatMap((button) => [" ", button])), run);

  /** Show it where the example is in sight; `id` is that of the recorded run which is. */
  function update(shown, id = start?.id) {
    node.hidden = !shown;
    if (!all.length) return;
    all.forEach((one, k) => (buttons[k].hidden = one.id === id));
    const found = all.find((one) => one.id === id);
    if (found && says.textContent !== found.says) says.textContent = found.says;
    // The form begins with the request of the first.
    run.hidden = id !== start.id;
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
