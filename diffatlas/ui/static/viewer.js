// The live view of one run. It is given the run as a value that grows (see run_view.py for its fields),
// and draws what has been added. Everything shown is read from that value, never from the form.

import { createCurves } from "./curves.js";
import { el, reducedMotion, svg } from "./dom.js";
import { showFieldError } from "./field_error.js";
import { createFilm } from "./film.js";
import { createNumbers } from "./numbers.js";
import { createStepPanel } from "./step_panel.js";

const BUSY = ["waiting", "loading", "running"];

/** Mount the viewer in `element`; `read()` returns the current value. Returns a function to call on change. */
export function mount(element, read) {
  const parts = layout();
  element.querySelector(".da-mount").replaceChildren(parts.root);

  let view = read();
  let selected = null;
  let runKey = null;
  let began = performance.now();

  const film = createFilm(parts.film, { onSelect: choose });
  const curves = createCurves(parts.curves, { onSelect: choose });
  const panel = createStepPanel(parts.step, { onSelect: choose });
  const numbers = createNumbers(parts);
  let path = null;
  loadPath(parts.path, choose).then((made) => {
    path = made;
    path.update(view);
  });

  function choose(index) {
    selected = index === null || index < 0 || index >= view.steps.length ? null : index;
    film.select(selected);
    curves.select(selected);
    panel.show(view, selected);
    path?.select(selected);
  }

  function update() {
    view = read();
    const key = view.request;
    if (key !== runKey) {
      runKey = key;
      began = performance.now();
      choose(null);
      comeIntoView(view, parts.root);
    }
    const empty = !view.run;
    parts.root.classList.toggle("da-empty", empty);
    parts.root.dataset.status = view.status;
    film.update(view);
    curves.update(view);
    numbers.update(view);
    path?.update(view);
    if (selected !== null) panel.show(view, selected);
    showFieldError(view.error);
    say();
    mark(view.status);
  }

  function say() {
    const seconds = (performance.now() - began) / 1000;
    const text = sentence(view, seconds);
    if (parts.status.textContent !== text) parts.status.textContent = text;
  }

  setInterval(() => BUSY.includes(view.status) && say(), 500);
  element.addEventListener("keydown", (event) => {
    if (selected === null || event.target.matches("input, textarea")) return;
    if (event.key === "ArrowRight") choose(Math.min(view.steps.length - 1, selected + 1));
    else if (event.key === "ArrowLeft") choose(Math.max(0, selected - 1));
    else if (event.key === "Escape") choose(null);
    else return;
    event.preventDefault();
  });
  update();
  return update;
}

// On a narrow page the view lies below the form: go there when a run begins.
function comeIntoView(view, root) {
  const below = root.getBoundingClientRect().top > window.innerHeight * 0.6;
  if (view.status !== "idle" && !view.error && below) {
    root.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "start" });
  }
}

// The Stop button is of use only while something runs.
function mark(status) {
  const stop = document.getElementById("stop");
  if (stop) stop.disabled = !BUSY.includes(status);
}

function sentence(view, seconds) {
  const elapsed = seconds >= 1 ? ` ${Math.floor(seconds)} s` : "";
  const total = view.run?.total_steps;
  const done = view.steps.length;
  switch (view.status) {
    case "waiting":
      return `Waiting for another run (${view.ahead} ahead)…${elapsed}`;
    case "loading":
      return `${view.message}${elapsed}`;
    case "running":
      return done ? `Step ${done} of ${total}` : "The first step…";
    case "complete":
      return `Complete: ${done} steps`;
    case "stopped":
      return view.run ? `Stopped after ${done} of ${total} steps` : "Stopped before the first step";
    case "failed":
      return view.error.message;
    default:
      return "Nothing has run yet";
  }
}

async function loadPath(root, onSelect) {
  try {
    const { createPath } = await import("./path3d.js");
    return await createPath(root, { onSelect });
  } catch (error) {
    console.warn(error);
    root.replaceChildren(
      el("p", { class: "da-absent" }, "The path needs WebGL, which this browser does not offer. The film and the curves do not."),
    );
    return { update() {}, select() {}, home() {} };
  }
}

function layout() {
  const section = (name, title, caption, ...children) =>
    el(
      "section",
      { class: `da-section da-section-${name}`, "aria-label": title },
      el("h2", {}, title),
      ...children,
      el("p", { class: "da-caption" }, caption),
    );
  const film = el("div", { class: "da-film" });
  const step = el("div", { class: "da-step", hidden: "" });
  const path = el("div", { class: "da-path" }, ghost());
  const curves = el("div", { class: "da-curves" });
  const status = el("p", { class: "da-status", role: "status", "aria-live": "polite" });
  const headline = el("p", { class: "da-headline" });
  const picture = el("div", { class: "da-picture" });
  const table = el("dl", { class: "da-numbers" });
  const root = el(
    "div",
    { class: "da-viewer" },
    el("div", { class: "da-masthead" }, headline, status),
    section(
      "film",
      "Film",
      "Each frame is the model’s guess of the finished image at that step. Choose a frame to read its numbers.",
      film,
      step,
    ),
    el(
      "div",
      { class: "da-pair" },
      section(
        "path",
        "Path",
        "The latents after every step, projected on their three principal components, one scale on all axes. Drag to turn.",
        path,
      ),
      section("image", "Image", "What the run gave, and what it ran on.", picture, table),
    ),
    section(
      "curves",
      "Curves",
      "How far the latents move, where they point, and how hard guidance pulls, step by step.",
      curves,
    ),
  );
  return { root, film, step, path, curves, status, headline, picture, table };
}

// What the path will look like, drawn faintly until there is one.
function ghost() {
  return svg(
    "svg",
    { class: "da-ghost", viewBox: "0 0 400 260", "aria-hidden": "true" },
    svg(
      "defs",
      {},
      svg(
        "linearGradient",
        { id: "da-ghost-ink", x1: 0, x2: 1 },
        svg("stop", { offset: "0", class: "da-ghost-from" }),
        svg("stop", { offset: "1", class: "da-ghost-to" }),
      ),
    ),
    svg("path", { d: "M40 200H360M40 200V40M40 200L90 235", class: "da-ghost-axes" }),
    svg("path", { d: "M70 70C120 60 170 66 205 104S262 182 300 176S338 150 334 128", class: "da-ghost-path" }),
    svg("circle", { cx: 70, cy: 70, r: 5, class: "da-ghost-from" }),
    svg("circle", { cx: 334, cy: 128, r: 5, class: "da-ghost-to" }),
  );
}
