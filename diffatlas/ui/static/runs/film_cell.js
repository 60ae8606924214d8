// One frame of the film with its edge print and its histogram. What is out of sight is one empty button of the same
// size: of a long film, few frames are laid out and few pictures decoded.

import { el } from "../core/dom.js";
import { short, significant } from "../core/format.js";
import { smallHistogram } from "./film_histogram.js";

/** The cell of a step, its frame empty. */
export function createCell(step) {
  const number = step.index + 1;
  const about = `Step ${number}, timestep ${short(step.timestep)}, sigma ${significant(step.sigma_before, 3)}`;
  const frame = el("button", {
    type: "button",
    class: "da-frame",
    tabindex: -1,
    "aria-pressed": "false",
    "aria-label": step.preview ? about : `${about}, no preview`,
    "data-step": step.index,
  });
  return el("div", { class: step.histogram ? "da-cell da-counted" : "da-cell", "data-index": step.index }, frame);
}

/** Fill a cell with what `step` shows, of a run with these `metrics`; nothing where it is filled. */
export function expose(cell, step, { metrics, run }) {
  const frame = cell.firstChild;
  if (frame.firstChild) return;
  const number = String(step.index + 1);
  const value = (name) => {
    const at = metrics.findIndex((metric) => metric.name === name);
    return at < 0 ? null : step.metrics[at];
  };
  frame.append(blankFrame());
  const shot = frame.children[2];
  print(frame.children[0], `▸${number}`, `t ${short(step.timestep)}`);
  print(frame.children[1], `σ ${significant(step.sigma_before, 3)}`, `g ${short(run?.guidance_scale)}`);
  print(frame.children[3], `‖x‖ ${significant(value("norm"), 4)}`, `${number}A`);
  print(frame.children[4], `μ ${level(value("mean"))}`, `s ${significant(value("std"), 3)}`);
  if (step.preview) shot.append(el("img", { src: step.preview, alt: "", draggable: "false", decoding: "async" }));
  else shot.classList.add("da-unexposed");
  if (!step.histogram) return;
  const label = `Histogram of step ${number}`;
  const about = { type: "button", class: "da-frame-histogram", tabindex: frame.tabIndex, "aria-label": label, title: label };
  cell.append(el("button", about, smallHistogram(step.histogram)));
}

/** Empty it again. */
export function cover(cell) {
  cell.firstChild.replaceChildren();
  cell.children[1]?.remove();
}

let template = null;

// Cloned, as a hundred of them may be made at once.
function blankFrame() {
  const pair = () => el("span", { class: "da-edge" }, el("span", {}, ""), el("span", {}, ""));
  if (!template) {
    template = document.createDocumentFragment();
    template.append(pair(), pair(), el("span", { class: "da-shot" }), pair(), pair());
  }
  return template.cloneNode(true);
}

function print(edge, left, right) {
  edge.children[0].textContent = left;
  edge.children[1].textContent = right;
}

// A mean lies near zero: decimals say more of it than significant digits.
function level(value) {
  if (value === null || value === undefined || Math.abs(value) >= 10) return significant(value, 3);
  return value.toFixed(3).replace("-", "−");
}
