// A message at the field it is about.

import { el } from "./dom.js";

let shown = null; // {error, note, input, clear}

/** Show `error` ({field, message}) under the form field it names, or take away the one that is shown. */
export function showFieldError(error) {
  if (shown && shown.error === error) return;
  remove();
  if (!error || !error.field) return;
  const block = document.getElementById(`field-${error.field}`);
  if (!block) return;
  openAround(block);
  const note = el("p", { class: "da-field-error", id: `error-${error.field}` }, error.message);
  block.after(note);
  const input = block.querySelector("input, textarea");
  input?.setAttribute("aria-invalid", "true");
  input?.setAttribute("aria-describedby", note.id);
  block.classList.add("da-invalid");
  block.addEventListener("input", remove, { once: true });
  shown = { error, note, input, block };
  block.scrollIntoView({ block: "nearest" });
}

function remove() {
  if (!shown) return;
  shown.note.remove();
  shown.input?.removeAttribute("aria-invalid");
  shown.input?.removeAttribute("aria-describedby");
  shown.block.classList.remove("da-invalid");
  shown.block.removeEventListener("input", remove);
  shown = { error: shown.error, note: el("p"), input: null, block: shown.block };
}

// A field in a folded section is of no help: unfold it.
function openAround(block) {
  if (block.offsetParent !== null) return;
  block.closest(".da-fold")?.querySelector("button")?.click();
}
