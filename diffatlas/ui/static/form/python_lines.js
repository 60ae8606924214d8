// The lines of Python that make what is in view, ready to copy: opened from the foot of every page and beside a run.

import { createDialog } from "../core/dialog.js";
import { el } from "../core/dom.js";
import { copy, currentPage } from "../core/pages.js";

const readers = new Map(); // page -> a function that returns {lines, title} of what is in view there, or null
let dialog = null;
let begun = false;

/** Let `read()` say which lines belong to what `page` shows, {lines, title}; null where it shows nothing. */
export function offerPython(page, read) {
  readers.set(page, read);
  if (begun) return;
  begun = true;
  document.addEventListener("click", (event) => {
    const asked = event.target instanceof Element && event.target.closest(".da-python");
    if (!asked) return;
    event.preventDefault();
    show(readers.get(currentPage())?.() ?? example());
  });
}

/** A button that opens the lines. */
export function pythonButton(className = "da-plain") {
  return el("button", { type: "button", class: `${className} da-python`, title: "The lines of Python that make this again" }, "Python");
}

// Where nothing has run yet: the first of the prompts, as the foot of the page has it.
function example() {
  return { lines: document.querySelector(".da-python-example")?.textContent ?? "", title: "A first run in Python" };
}

function show({ lines, title }) {
  dialog ??= create();
  dialog.say(lines, title);
  dialog.open();
}

function create() {
  const { title, acts, body, open } = createDialog("da-python-dialog");
  const text = el("code", {});
  const button = el("button", { type: "button", class: "da-button da-copy-python", "aria-live": "polite" }, "Copy");
  let timer = 0;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text.textContent, button)) ? "Copied" : "Not copied";
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  acts.append(button);
  body.append(
    el("p", { class: "da-caption" }, "What is in view, as the package makes it."),
    el("pre", { class: "da-python-lines", tabindex: 0 }, text),
  );
  return {
    open,
    say(lines, words) {
      title.textContent = words;
      text.textContent = lines;
    },
  };
}
