// A question before something that cannot be undone: what goes, what it frees, and two answers.

import { createDialog } from "./dialog.js";
import { el } from "./dom.js";

/** Create the dialog. `ask({title, text, yes})` is a promise of whether the answer was yes; closing it is a no. */
export function createSure() {
  const view = createDialog("da-sure-dialog");
  const said = el("p", {});
  const yes = el("button", { type: "button", class: "da-button da-sure da-sure-yes" });
  const no = el("button", { type: "button", class: "da-button da-sure-no", onclick: () => view.close() }, "Keep");
  view.body.append(said, el("div", { class: "da-details-row" }, yes, no));
  let settle = null;
  yes.addEventListener("click", () => {
    settle?.(true);
    view.close();
  });
  view.dialog.addEventListener("close", () => {
    settle?.(false);
    settle = null;
  });

  function ask({ title, text, yes: label }) {
    settle?.(false);
    view.title.textContent = title;
    said.textContent = text;
    yes.textContent = label;
    view.open();
    // Enter at once deletes nothing.
    no.focus({ preventScroll: true });
    return new Promise((resolve) => {
      settle = resolve;
    });
  }

  return { ask };
}
