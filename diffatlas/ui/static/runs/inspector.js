// One step in full: its pictures, all its numbers, its histogram, and a player over the steps of its run.

import { el, isDark, onTheme } from "../core/dom.js";
import { niceStep, significant } from "../core/format.js";
import { createPictureHistogram } from "./picture_histogram.js";
import { createSteps } from "./inspector_steps.js";
import { BUSY } from "../core/state.js";
import { term } from "../core/tips.js";

const PICTURES = ["x_t", "x0", "cond", "uncond"];
const SPEEDS = [100, 250, 500, 1000, 2000]; // ms
const AHEAD = 3; // steps to fetch before they are played
const APART = 80; // ms between requests while the slider is dragged
const SMALL = 128; // px: smaller pictures are enlarged pixel by pixel
const DECODERS = {
  vae: "Decoded by the VAE.",
  linear: "Drawn by the linear map.",
};

let numbered = 0; // each page has one

/** Create the inspector. `onSelect(id, index)` is told of every step it goes to. */
export function createInspector({ server, getState, onSelect }) {
  const steps = createSteps(server);
  const histogram = createPictureHistogram();
  const view = layout(histogram.root);
  const { dialog, slider } = view;
  document.body.append(dialog);

  let layer = null;
  let index = 0;
  let decode = false;
  let chosen = "x0"; // the picture shown large
  let full = false;
  let shown = null; // {key, answer, images}
  let asked = 0; // counts what was asked for: only the last answer is shown
  let requested = 0;
  let failedAt = -1; // how many steps there were when the last request failed
  let player = 0; // counts players: 0 or an old number means stopped
  let playing = false;
  let direction = 1;

  view.close.addEventListener("click", () => dialog.close());
  view.earlier.addEventListener("click", () => go(index - 1));
  view.later.addEventListener("click", () => go(index + 1));
  view.play.addEventListener("click", () => (playing ? stop() : play()));
  view.speed.addEventListener("change", () => playing && play());
  slider.addEventListener("input", () => go(Number(slider.value)));
  view.decode.addEventListener("click", () => {
    decode = !decode;
    show();
  });
  view.size.addEventListener("click", () => {
    full = !full;
    fit();
  });
  for (const [key, { button }] of Object.entries(view.pictures)) {
    button.addEventListener("click", () => {
      chosen = key;
      if (shown) draw();
    });
  }
  dialog.addEventListener("close", stop);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", press);
  new ResizeObserver(fit).observe(view.large);
  onTheme(() => dialog.open && show()); // the histogram is of one ground

  function open(id, at, options = {}) {
    const found = getState().layers.find((each) => each.id === id);
    if (!found || at < 0 || at >= found.data.steps.length) return;
    const other = !shown || !shown.key.startsWith(`${runKey(found)} `);
    layer = found;
    index = at;
    if (other) clear();
    view.root.classList.toggle("da-inspector-counting", Boolean(options.histogram));
    if (!dialog.open) {
      chosen = "x0";
      full = decode = false;
      dialog.showModal();
      slider.focus({ preventScroll: true });
    }
    const there = () => options.histogram && view.counts.scrollIntoView({ block: "nearest" });
    view.root.scrollTop = 0;
    show().then(there);
    there();
  }

  function update(state) {
    if (!dialog.open || !layer) return;
    const before = layer;
    layer = state.layers.find((each) => each.id === layer.id) ?? layer;
    const count = layer.data.steps.length;
    if (!count) return;
    index = Math.min(index, count - 1);
    head();
    const changed = runKey(before) !== runKey(layer) || ended(before) !== ended(layer);
    if (changed || (failedAt >= 0 && failedAt < count)) show();
  }

  function go(to) {
    const last = layer.data.steps.length - 1;
    const next = Math.max(0, Math.min(last, to));
    if (next === index) return Promise.resolve("same");
    index = next;
    const shows = show();
    onSelect(layer.id, index);
    return shows;
  }

  /** Bring the step at `index` on: at once where it is kept, otherwise when it has come. `note` is said with it. */
  async function show(note = "") {
    head();
    const mine = ++asked;
    const request = { id: layer.id, index, decode, dark: isDark() };
    const key = keyOf(index);
    const kept = steps.ready(key);
    if (kept) return apply(key, kept, note);
    dialog.setAttribute("aria-busy", "true");
    const wait = requested + APART - performance.now();
    if (wait > 0) await sleep(wait);
    if (mine !== asked) return "late";
    requested = performance.now();
    try {
      const found = await steps.get(request, key);
      return mine === asked ? apply(key, found, note) : "late";
    } catch (error) {
      if (mine !== asked) return "late";
      return fail(error);
    }
  }

  function apply(key, { answer, images }, note) {
    dialog.removeAttribute("aria-busy");
    failedAt = -1;
    say(note);
    shown = { key, answer, images };
    draw();
    return "shown";
  }

  function fail(error) {
    dialog.removeAttribute("aria-busy");
    say(error.message);
    stop();
    if (decode) {
      // The quick pictures are still to be had.
      decode = false;
      show(error.message);
    } else {
      failedAt = layer.data.steps.length;
      if (shown && shown.key !== keyOf(index)) clear();
    }
    return "failed";
  }

  function say(text) {
    view.error.textContent = text;
    view.error.hidden = !text;
  }

  // What is known without asking.
  function head() {
    const { data, name, colour, locked } = layer;
    const last = data.steps.length - 1;
    view.title.textContent = `Step ${index + 1} of ${data.run.total_steps}`;
    view.name.textContent = name;
    view.name.classList.toggle("da-temporary", !locked);
    view.swatch.style.background = colour ?? "var(--da-ink)";
    if (Number(slider.max) !== last || !view.ticks.childElementCount) {
      slider.max = last;
      view.ticks.replaceChildren(...ticksTo(last));
    }
    slider.value = index;
    slider.setAttribute("aria-valuetext", `step ${index + 1}`);
    view.earlier.setAttribute("aria-disabled", String(index === 0));
    view.later.setAttribute("aria-disabled", String(index === last));
  }

  function draw() {
    const { answer, images } = shown;
    const given = new Map(answer.pictures.map((picture) => [picture.key, picture]));
    const large = given.get(chosen) ?? given.get("x0");
    for (const [key, { box, button, size }] of Object.entries(view.pictures)) {
      const picture = given.get(key);
      button.disabled = !picture;
      button.setAttribute("aria-pressed", String(large?.key === key));
      button.setAttribute("aria-label", picture ? `${picture.label}: show it large` : key);
      size.textContent = picture ? `${picture.width} × ${picture.height}` : "";
      fill(box, picture ? images[key].small : absent(key, answer), picture);
    }
    fill(view.large, large ? images[large.key].large : absent("x0", answer), large);
    view.largeLabel.replaceChildren(term(large?.key ?? "x0"));
    view.decoder.textContent = large ? (DECODERS[large.decoder] ?? "") : "";
    view.decode.hidden = !answer.can_decode && !decode;
    view.decode.textContent = decode ? "Use the linear map" : "Decode with the VAE";
    fillList(view.scalars, answer.scalars);
    fillList(view.statistics, answer.statistics);
    view.unmeasured.hidden = answer.statistics.length > 0;
    histogram.update(answer.histogram);
    fit();
  }

  function absent(key, answer) {
    const scale = layer.data.run.guidance_scale;
    const guided = scale === null || scale > 1;
    let why = answer.can_decode ? "needs the VAE" : "not captured in this run";
    if (key === "x0" && answer.can_decode) why = "no preview at this step";
    if ((key === "cond" || key === "uncond") && !guided) why = "no guidance at this scale";
    return el("span", { class: "da-inspector-absent" }, why);
  }

  function clear() {
    shown = null;
    view.large.replaceChildren();
    for (const { box, size, button } of Object.values(view.pictures)) {
      box.replaceChildren();
      size.textContent = "";
      button.disabled = true;
    }
    for (const node of [view.scalars, view.statistics]) node.replaceChildren();
    view.decoder.textContent = "";
    view.decode.hidden = view.size.hidden = view.unmeasured.hidden = true;
    say("");
    const { width, height } = layer.data.run;
    view.root.style.setProperty("--da-shape", `${width || 1} / ${height || 1}`);
    histogram.update(null);
  }

  // Full size is offered where the picture is larger than its place.
  function fit() {
    const image = view.large.querySelector("img");
    const width = image?.naturalWidth ?? 0;
    view.root.classList.toggle("da-inspector-full", full);
    view.size.hidden = !full && width <= view.large.clientWidth + 1;
    view.size.textContent = full ? "Fit" : "Full size";
  }

  function press(event) {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const { key, target } = event;
    const own = target.matches("select, button, input[type=checkbox], [data-term]");
    if (key === " " && !own) view.play.click();
    else if ((key === "ArrowRight" || key === "ArrowLeft") && !target.matches("select, input[type=range]")) {
      go(index + (key === "ArrowRight" ? 1 : -1));
    } else return;
    event.preventDefault();
  }

  async function play() {
    const mine = ++player;
    playing = true;
    view.play.textContent = "Pause";
    let due = performance.now() + speed();
    while (mine === player) {
      ahead();
      await sleep(Math.max(0, due - performance.now()));
      if (mine !== player) return;
      due = performance.now() + speed();
      // The next one waits until this one is seen.
      if ((await go(turn(index))) === "failed") return;
    }
  }

  function stop() {
    player += 1;
    playing = false;
    view.play.textContent = "Play";
  }

  // The step after `at`, and the direction from there.
  function turn(at, probe = false) {
    const last = layer.data.steps.length - 1;
    if (view.mode.value === "loop") return at >= last ? 0 : at + 1;
    const way = at >= last ? -1 : at <= 0 ? 1 : direction;
    if (!probe) direction = way;
    return Math.max(0, Math.min(last, at + way));
  }

  function ahead() {
    let at = index;
    for (let k = 0; k < AHEAD; k++) {
      at = turn(at, true);
      steps.get({ id: layer.id, index: at, decode, dark: isDark() }, keyOf(at)).catch(() => {}); // it will be told when it is played
    }
  }

  const speed = () => Number(view.speed.value);
  const keyOf = (at) => `${runKey(layer)} ${at} ${decode} ${ended(layer)} ${isDark()}`;

  return { open, close: () => dialog.close(), update };
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const runKey = (layer) => `${layer.id} ${layer.data.run?.id}`;
// Some scalars are known only once a run has ended.
const ended = (layer) => !BUSY.includes(layer.data.status);

function fill(box, node, picture) {
  node.classList.toggle("da-pixels", Boolean(picture) && Math.max(picture.width, picture.height) < SMALL);
  if (box.firstChild !== node) box.replaceChildren(node);
}

function fillList(list, values) {
  list.replaceChildren(
    ...values.flatMap(({ key, label, value, unit }) => [
      el("dt", {}, term(key, label)),
      el("dd", {}, value === null ? "–" : `${significant(value)}${unit === "°" ? unit : unit ? ` ${unit}` : ""}`),
    ]),
  );
}

/** Step numbers under the slider: the first, the last, and round ones between. */
function ticksTo(last) {
  const by = Math.max(1, niceStep((last + 1) / 8));
  const numbers = [1];
  for (let number = by; number < last + 1 - by / 2; number += by) if (number > 1) numbers.push(number);
  if (last > 0) numbers.push(last + 1);
  return numbers.map((number) => {
    const tick = el("span", {}, String(number));
    tick.style.setProperty("--at", last ? (number - 1) / last : 0);
    return tick;
  });
}

function layout(counts) {
  const button = (label, className = "da-button") => el("button", { type: "button", class: className }, ...[label].flat());
  const word = (text) => el("span", { class: "da-inspector-word" }, text); // not drawn on a narrow page
  const select = (label, options) =>
    el(
      "label",
      { class: "da-inspector-choice" },
      word(label),
      el("select", {}, ...options.map(([value, text]) => el("option", { value }, text))),
    );

  const close = button("Close");
  const earlier = button(["←", word(" Earlier")]);
  const later = button([word("Later "), "→"]);
  const play = button("Play", "da-button da-inspector-play");
  const speed = select("Every", SPEEDS.map((ms) => [ms, `${ms} ms`]));
  const mode = select("Then", [
    ["loop", "loop"],
    ["ping-pong", "ping-pong"],
  ]);
  speed.lastChild.value = "250";
  const slider = el("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "Step" });
  const ticks = el("div", { class: "da-inspector-ticks", "aria-hidden": "true" });
  const swatch = el("i", { class: "da-inspector-swatch", "aria-hidden": "true" });
  const titled = `da-inspector-title-${++numbered}`;
  const title = el("h2", { id: titled, class: "da-inspector-title" });
  const name = el("span", { class: "da-inspector-name" });
  const error = el("p", { class: "da-inspector-error", role: "alert", hidden: "" });
  const large = el("div", { class: "da-inspector-large" });
  const largeLabel = el("span", { class: "da-inspector-label" });
  const decoder = el("span", { class: "da-inspector-decoder" });
  const decode = button("", "da-plain");
  const size = button("", "da-plain");
  const pictures = Object.fromEntries(
    PICTURES.map((key) => {
      const box = el("span", { class: "da-inspector-box" });
      const dimensions = el("span", { class: "da-inspector-size" });
      const open = el("button", { type: "button", class: "da-inspector-thumb" }, box);
      return [key, { box, button: open, size: dimensions }];
    }),
  );
  const scalars = el("dl", { class: "da-inspector-list" });
  const statistics = el("dl", { class: "da-inspector-list" });
  const unmeasured = el("p", { class: "da-inspector-quiet", hidden: "" }, "There is no picture to measure.");
  const histogram = el(
    "section",
    { class: "da-inspector-histogram" },
    el("h3", {}, term("histogram", "Histogram"), " of x0"),
    counts,
  );
  const body = el(
    "div",
    { class: "da-inspector-body" },
    el(
      "header",
      { class: "da-inspector-head" },
      el("div", { class: "da-inspector-top" }, title, el("span", { class: "da-inspector-of" }, swatch, name), close),
      el(
        "div",
        { class: "da-inspector-player" },
        el("div", { class: "da-inspector-slider" }, slider, ticks),
        el("div", { class: "da-inspector-buttons" }, earlier, play, later, speed, mode),
      ),
      error,
    ),
    el(
      "div",
      { class: "da-inspector-content" },
      el(
        "figure",
        { class: "da-inspector-figure" },
        large,
        el("figcaption", {}, largeLabel, decoder, decode, size),
      ),
      el(
        "div",
        { class: "da-inspector-beside" },
        el(
          "div",
          { class: "da-inspector-row" },
          ...PICTURES.map((key) =>
            el(
              "figure",
              { "data-picture": key },
              pictures[key].button,
              el("figcaption", {}, term(key), pictures[key].size),
            ),
          ),
        ),
        el(
          "div",
          { class: "da-inspector-numbers" },
          el("section", {}, el("h3", {}, "This step"), scalars),
          el("section", {}, el("h3", {}, "The picture x0"), statistics, unmeasured),
        ),
      ),
      histogram,
    ),
  );
  const dialog = el(
    "dialog",
    { class: "da-inspector", "aria-labelledby": titled, tabindex: -1 },
    body,
  );
  return {
    dialog,
    root: body,
    close,
    earlier,
    later,
    play,
    speed: speed.lastChild,
    mode: mode.lastChild,
    slider,
    ticks,
    swatch,
    title,
    name,
    error,
    large,
    largeLabel,
    decoder,
    decode,
    size,
    pictures,
    scalars,
    statistics,
    unmeasured,
    counts: histogram,
  };
}
