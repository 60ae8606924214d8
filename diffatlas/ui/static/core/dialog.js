// A native dialog with a head that stays, a body that scrolls, and a Close button.

import { el } from "./dom.js";

let numbered = 0;

/** Create one. `head` and `title` are filled by the caller; clicking beside it closes it, as Escape does. */
export function createDialog(className) {
  const id = `da-dialog-${++numbered}`;
  const title = el("h2", { class: "da-dialog-title", id, dir: "auto", tabindex: -1 });
  const acts = el("div", { class: "da-dialog-acts" });
  const close = el("button", { type: "button", class: "da-button da-dialog-close", onclick: () => dialog.close() }, "Close");
  const body = el("div", { class: "da-dialog-body" });
  const dialog = el(
    "dialog",
    { class: `da-dialog ${className}`, "aria-labelledby": id },
    el("div", { class: "da-dialog-scroll" }, el("header", { class: "da-dialog-head" }, title, acts, close), body),
  );
  // A press that began inside, such as a drag over text, does not close it.
  let beside = false;
  dialog.addEventListener("pointerdown", (event) => (beside = event.target === dialog));
  dialog.addEventListener("click", (event) => beside && event.target === dialog && dialog.close());
  window.addEventListener("da-page", () => dialog.open && dialog.close());
  document.body.append(dialog);

  function open() {
    if (!dialog.open) dialog.showModal();
    dialog.firstElementChild.scrollTop = 0;
    title.focus({ preventScroll: true });
  }

  return { dialog, title, acts, body, open, close: () => dialog.close() };
}
