// The button of a form that takes the image of the run in view as the picture to begin from.

import { toast } from "../core/toast.js";

const FIELD = ".da-from-picture";
const NONE = "There is no image yet: run a prompt first, or choose a file.";

let begun = false;

/** Listen to the button. Every mount may call it; the first call counts. */
export function initFromPicture() {
  if (begun) return;
  begun = true;
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest(".da-take");
    if (button) take(button.closest(FIELD));
  });
}

async function take(field) {
  const source = document.querySelector(".da-viewer .da-picture img")?.src;
  if (!source) return toast(NONE);
  const answer = await fetch(source).catch(() => null);
  if (!answer?.ok) return toast("The image could not be read: reload the page.");
  const image = await answer.blob();
  // As if it had been chosen from the disk, in place of what is there.
  field.querySelector('[aria-label="Clear canvas"]')?.click();
  requestAnimationFrame(() => {
    const chosen = new DataTransfer();
    chosen.items.add(new File([image], "run.png", { type: image.type }));
    const input = field.querySelector("input[type=file]");
    input.files = chosen.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  return null;
}
