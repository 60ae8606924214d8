// A message at the field it is about. It lies over what is beneath the field, so that nothing moves.

import { el } from "../core/dom.js";

const GAP = 4;
const shownOn = new Map(); // page -> {error, remove}

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
  const form = block.closest(".da-form") ?? block.parentNode;
  const close = el("button", { type: "button", class: "da-field-error-close", "aria-label": "Close this message", onclick: () => remove() }, "×");
  const id = `error-${page}-${error.field}`;
  const note = el("div", { class: "da-field-error", role: "alert" }, el("p", { id }, oneSentence(error.message)), close);
  form.append(note);
  const input = block.querySelector("input, textarea");
  input?.setAttribute("aria-invalid", "true");
  input?.setAttribute("aria-describedby", id);
  block.classList.add("da-invalid");
  const place = () => {
    const box = block.getBoundingClientRect();
    note.hidden = box.height === 0;
    // Where the form says how long a size takes, and offers to run it all the same, that stays in sight.
    const told = error.field === "size" ? [`${page}-expected`, `${page}-anyway`].map((id) => document.getElementById(id)) : [];
    const bottoms = told.map((node) => node?.getBoundingClientRect()).filter((at) => at?.height).map((at) => at.bottom);
    note.style.top = `${Math.max(box.bottom, ...bottoms) - form.getBoundingClientRect().top + GAP}px`;
  };
  const sizes = new ResizeObserver(place);
  sizes.observe(form);
  sizes.observe(block);
  const remove = () => {
    sizes.disconnect();
    note.remove();
    input?.removeAttribute("aria-invalid");
    input?.removeAttribute("aria-describedby");
    block.classList.remove("da-invalid");
    block.removeEventListener("input", remove);
  };
  block.addEventListener("input", remove);
  shownOn.set(page, { error, remove });
  place();
  for (const node of [note, block]) node.scrollIntoView({ block: "nearest" });
}

/** The first sentence of a message: a field has room for one, and the view beside it says all of them. */
const oneSentence = (message) => /^.*?[.!?](?=\s+[A-Z“"]|\s*$)/s.exec(message)?.[0] ?? message;

// A field in a folded section is of no help: unfold it.
function openAround(block) {
  if (block.offsetParent !== null) return;
  block.closest(".da-fold")?.querySelector("button")?.click();
}
