// Time: from noise to points and back, by hand or by itself.

import { el, reducedMotion } from "../core/dom.js";
import { significant } from "../core/format.js";

const SECONDS = 3.2; // from noise to points

/** Create the player. `onTime()` is called when `position()` has changed. */
export function createLabPlayer({ onTime }) {
  const play = el("button", { type: "button", class: "da-button da-play", onclick: toggle }, "Play");
  const slider = el("input", { type: "range", min: 0, max: 1, step: 0.01, class: "da-timeline", "aria-label": "Time, from noise to points", oninput: () => (pause(), onTime()) });
  const told = el("output", { class: "da-timeline-at" });
  const node = el("div", { class: "da-player" }, play, slider, told);
  let frames = null;
  let running = 0;
  let last = 0;

  const position = () => Number(slider.value);
  const end = () => (frames ? frames.count - 1 : 0);

  function toggle() {
    if (running) return pause();
    if (position() >= end()) slider.value = 0;
    return start();
  }

  function start() {
    pause();
    play.textContent = "Pause";
    last = performance.now();
    running = requestAnimationFrame(tick);
  }

  function tick(now) {
    slider.value = Math.min(end(), position() + ((now - last) / 1000 / SECONDS) * end());
    last = now;
    if (position() >= end()) pause();
    else running = requestAnimationFrame(tick);
    say();
    onTime();
  }

  function pause() {
    cancelAnimationFrame(running);
    running = 0;
    play.textContent = "Play";
    say();
  }

  /** Take the frames of another sampling; they are played once, or shown at their end. */
  function take(next, { quiet = false } = {}) {
    if (next === frames) return;
    frames = next;
    slider.disabled = play.disabled = !frames;
    slider.max = Math.max(1, end());
    slider.value = quiet || reducedMotion() ? end() : 0;
    if (!frames) return pause();
    if (quiet || reducedMotion()) pause();
    else start();
  }

  function say() {
    let text = "";
    if (frames) {
      const k = Math.round(position());
      text = `step ${frames.steps[k]} of ${frames.steps.at(-1)} · σ ${significant(frames.sigmas[k], 3)}`;
    }
    if (told.textContent !== text) told.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  function go(share) {
    pause();
    slider.value = share * end();
    say();
    onTime();
  }

  window.addEventListener("da-page", pause);
  return { node, take, position, toggle, go, start: () => ((slider.value = 0), start()) };
}
