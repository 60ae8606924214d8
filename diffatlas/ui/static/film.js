// The film: one frame per previewed step, in the manner of 35 mm stock with its edge print.

import { el, reducedMotion } from "./dom.js";
import { significant, short } from "./format.js";

/** Create the film in `root`. `onSelect(index)` is called with a step's index. */
export function createFilm(root, { onSelect }) {
  const roll = el("div", { class: "da-roll", role: "group", "aria-label": "Film of previews, one frame a step" });
  const strip = el("div", { class: "da-strip", tabindex: "-1" }, roll);
  root.append(strip);

  let runId; // undefined until the first value, null while nothing has run
  let drawn = 0; // steps looked at so far; a film has fewer frames where only some steps were previewed
  let frames = new Map();
  let next = null;
  let scrolled = 0;
  let following = true; // until the visitor takes the film in hand

  for (const kind of ["wheel", "pointerdown", "touchstart"]) {
    strip.addEventListener(kind, () => (following = false), { passive: true });
  }

  function reset(view) {
    roll.replaceChildren(leader(view));
    frames = new Map();
    drawn = 0;
    following = true;
    next = unexposed();
    roll.append(next);
    if (!view.run) roll.append(...Array.from({ length: 12 }, unexposed));
    strip.scrollLeft = 0;
  }

  function update(view) {
    const id = view.run ? view.run.id : null;
    if (id !== runId || view.steps.length < drawn) {
      runId = id;
      reset(view);
    }
    const before = frames.size;
    for (const step of view.steps.slice(drawn)) {
      if (!step.preview) continue;
      const frame = frameFor(step, () => onSelect(step.index));
      frames.set(step.index, frame);
      roll.insertBefore(frame, next);
    }
    drawn = view.steps.length;
    const live = view.status === "running" || view.status === "loading" || view.status === "waiting";
    next.hidden = !live && frames.size > 0;
    next.classList.toggle("da-exposing", live);
    if (following && frames.size > before) {
      // Frames that come faster than a smooth scroll lasts would leave the film's end out of sight.
      const brisk = performance.now() - scrolled < 400;
      scrolled = performance.now();
      strip.scrollTo({ left: strip.scrollWidth, behavior: brisk || reducedMotion() ? "instant" : "smooth" });
    }
  }

  function select(index) {
    for (const [at, frame] of frames) {
      const chosen = at === index;
      frame.classList.toggle("da-chosen", chosen);
      frame.setAttribute("aria-pressed", String(chosen));
      if (chosen) frame.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  return { update, select };
}

function unexposed() {
  return el("div", { class: "da-frame da-unexposed", "aria-hidden": "true" });
}

function frameFor(step, onclick) {
  const number = String(step.index + 1);
  return el(
    "button",
    {
      type: "button",
      class: "da-frame",
      "data-step": step.index,
      "aria-pressed": "false",
      "aria-label": `Step ${number}, timestep ${short(step.timestep)}, sigma ${significant(step.sigma, 3)}`,
      onclick,
    },
    el("span", { class: "da-edge" }, el("span", {}, `▸ ${number}`), el("span", {}, `t ${short(step.timestep, 3)}`)),
    el("img", { src: step.preview, alt: "", draggable: "false" }),
    el("span", { class: "da-edge" }, el("span", {}, `σ ${significant(step.sigma, 3)}`), el("span", {}, `${number}A`)),
  );
}

function leader(view) {
  const run = view.run;
  return el(
    "div",
    { class: "da-leader", "aria-hidden": "true" },
    el("span", {}, run ? run.model_name : "Diffusion Atlas"),
    el("span", {}, run ? `seed ${run.seed}` : "unexposed"),
    run ? el("span", {}, `${run.total_steps} steps`) : null,
  );
}
