// The camera roll of a run: every picture that it left at its full size, leafed through and saved one by one.

import { ask } from "../core/ask.js";
import { createDialog } from "../core/dialog.js";
import { el } from "../core/dom.js";
import { titleOf } from "../runs/library_text.js";

const SMALL = 256; // px: smaller pictures are enlarged pixel by pixel

/** Create it. `open(run, pictures, at)`: `pictures` are {step} (from 0) or {image} of a run, `at` the first in sight. */
export function createRoll({ server }) {
  const view = createDialog("da-roll");
  const image = el("img", { class: "da-roll-image", alt: "" });
  const stage = el("div", { class: "da-roll-stage" }, image);
  const caption = el("p", { class: "da-roll-caption", role: "status" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const button = (name, text, onclick) => el("button", { type: "button", class: `da-button da-roll-${name}`, onclick }, text);
  const earlier = button("earlier", "Previous", () => go(at - 1));
  const later = button("later", "Next", () => go(at + 1));
  const slider = el("input", { type: "range", class: "da-roll-slider", min: 0, "aria-label": "Picture", oninput: () => go(Number(slider.value)) });
  const save = el("a", { class: "da-button da-roll-save" }, "Save as PNG");
  view.acts.append(earlier, later);
  view.body.append(stage, problem, el("div", { class: "da-details-row da-roll-row" }, slider, save), caption);
  const known = new Map(); // place -> a promise of {url, name, width, height}
  let run = null;
  let pictures = [];
  let at = 0;
  let shown = 0; // counts openings: what comes back late belongs to another run

  view.dialog.addEventListener("keydown", (event) => {
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: pictures.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  image.addEventListener("load", () => image.classList.toggle("da-pixels", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL));

  function fetch(place) {
    if (!known.has(place)) {
      const asked = ask(server, "picture", { id: run.id, ...pictures[place] });
      // One that did not come is asked for again.
      asked.catch(() => known.get(place) === asked && known.delete(place));
      known.set(place, asked);
    }
    return known.get(place);
  }

  async function go(place) {
    at = Math.max(0, Math.min(pictures.length - 1, place));
    const mine = at;
    const run = shown;
    draw();
    try {
      const { url, name, width, height } = await fetch(mine);
      if (mine !== at || run !== shown) return;
      image.src = url;
      image.alt = wordsOf(pictures[mine], pictures);
      save.href = url;
      save.download = name;
      caption.textContent = `${wordsOf(pictures[mine], pictures)} ${width} × ${height}.`;
      // The next ones are there when they are wanted.
      for (const next of [mine + 1, mine - 1]) if (pictures[next]) fetch(next).then((found) => (new Image().src = found.url), () => {});
    } catch (error) {
      if (mine === at && run === shown) say(error.message);
    }
  }

  function draw() {
    say("");
    slider.max = pictures.length - 1;
    slider.value = at;
    slider.setAttribute("aria-valuetext", wordsOf(pictures[at], pictures));
    // A button that is disabled under the keyboard would lose it.
    if (at === 0 && document.activeElement === earlier) later.focus();
    if (at === pictures.length - 1 && document.activeElement === later) earlier.focus();
    earlier.disabled = at === 0;
    later.disabled = at === pictures.length - 1;
    slider.hidden = pictures.length < 2;
  }

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function open(of, all, first) {
    run = of;
    pictures = all;
    shown += 1;
    known.clear();
    image.removeAttribute("src");
    caption.textContent = "";
    view.title.textContent = titleOf(run);
    view.open();
    go(first);
  }

  return { open };
}

function wordsOf(picture, all) {
  if (picture.step !== undefined) return `Step ${picture.step + 1}: the guess of the image.`;
  const count = all.filter(({ image }) => image !== undefined).length;
  return count > 1 ? `The finished image ${picture.image + 1} of ${count}.` : "The finished image.";
}
