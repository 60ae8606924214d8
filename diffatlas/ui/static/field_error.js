// A message at the field it is about.

import { el } from "./dom.js";

const shownOn = new Map(); // page -> {error, note, input, block, remove}

/** Show `error` ({field, message}) under the field it names, or take away the one that is shown. `page` is the prefix
 * of the form's ids. */
export function showFieldError(error, page = "field") {
  const shown = shownOn.get(page);
  if (shown && shown.error === error) return;
  shown?.remove();
  shownOn.delete(page);
  if (!error || !error.field) return;
  const block = document.getElementById(`${page}-${error.field}`);
  if (!block) return;
  openAround(block);
  const note = el("p", { class: "da-field-error", id: `error-${page}-${error.field}` }, error.message);
  block.after(note);
  const input = block.querySelector("input, textarea");
  input?.setAttribute("aria-invalid", "true");
  input?.setAttribute("aria-describedby", note.id);
  block.classList.add("da-invalid");
  const remove = () => {
    note.remove();
    input?.removeAttribute("aria-invalid");
    input?.removeAttribute("aria-describedby");
    block.classList.remove("da-invalid");
    block.removeEventListener("input", remove);
  };
  block.addEventListener("input", remove);
  shownOn.set(page, { error, remove });
  block.scrollIntoView({ block: "nearest" });
}

// A field in a folded section is of no help: unfold it.
function openAround(block) {
  if (block.offsetParent !== null) return;
  block.closest(".da-fold")?.querySelector("button")?.click();
}
