// The timeline: a slider over the captured steps, and playing through them.

import { el, reducedMotion } from "../core/dom.js";
import { short, significant } from "../core/format.js";

const SPEEDS = [["400", "slow"], ["180", "normal"], ["80", "fast"]]; // ms a step

/** Create the timeline. `onGo(position)` is called for a step. */
export function createPlayer({ onGo }) {
  const play = el("button", { type: "button", class: "da-button da-play", onclick: toggle }, "Play");
  const slider = el("input", { type: "range", min: 0, max: 0, step: 1, class: "da-timeline", "aria-label": "Step", oninput: () => go(Number(slider.value)) });
  const speed = el("select", { class: "da-select", "aria-label": "Speed", onchange: () => timer && start() }, ...SPEEDS.map(([ms, name]) => el("option", { value: ms }, name)));
  speed.value = reducedMotion() ? "400" : "180";
  const told = el("output", { class: "da-timeline-at" });
  const node = el("div", { class: "da-player" }, play, slider, speed, told);
  let timer = 0;
  let state = { at: 0, data: null };

  const last = () => (state.data ? state.data.steps.length - 1 : 0);

  function toggle() {
    if (timer) return stop();
    // From the beginning, where it stands at the end.
    if (state.at >= last()) onGo(0);
    return start();
  }

  function start() {
    clearInterval(timer);
    timer = setInterval(() => (state.at >= last() ? stop() : onGo(state.at + 1)), Number(speed.value));
    play.textContent = "Pause";
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  function go(position) {
    stop();
    onGo(position);
  }

  /** One step on or back, by the keyboard. */
  function move(by) {
    go(Math.min(last(), Math.max(0, state.at + by)));
  }

  function update(next) {
    if (next.id !== state.id) stop();
    state = next;
    slider.max = last();
    slider.value = next.at;
    play.disabled = slider.disabled = last() < 1;
    const step = next.step;
    // Some schedulers take more steps than were asked.
    const total = step ? Math.max(next.data.run.num_inference_steps, next.data.steps.at(-1).index + 1) : 0;
    const text = step ? `step ${step.index + 1} of ${total} · t ${short(step.timestep)} · σ ${significant(step.sigma_before, 3)}` : "";
    if (told.textContent !== text) told.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  window.addEventListener("da-page", stop);
  return { node, update, move, stop };
}
