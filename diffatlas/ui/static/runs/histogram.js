// Histograms: sixteen bins under a frame of the film, sixty-four in the inspector.

import { el, svg } from "../core/dom.js";
import { niceTicks, short } from "../core/format.js";
import { decodeBytes } from "../core/state.js";
import { term } from "../core/tips.js";

const BINS = 16;
const ROWS = 24;
// Red, green and blue add up to about white, as light does.
const LIGHT = [
  [226, 84, 74],
  [62, 176, 104],
  [74, 118, 236],
];
const CHANNELS = [
  ["r", "red"],
  ["g", "green"],
  ["b", "blue"],
  ["luma", "luma"],
];

/** A canvas of 16 bins each of red, green and blue: 48 bytes in base64. Heights grow as the square root. */
export function smallHistogram(base64) {
  const heights = Array.from(decodeBytes(base64), (value) => Math.round(ROWS * Math.sqrt(value / 255)));
  const canvas = el("canvas", { width: BINS, height: ROWS, "aria-hidden": "true" });
  const image = new ImageData(BINS, ROWS);
  for (let bin = 0; bin < BINS; bin++) {
    for (let channel = 0; channel < 3; channel++) {
      const top = ROWS - heights[channel * BINS + bin];
      for (let row = top; row < ROWS; row++) {
        const at = 4 * (row * BINS + bin);
        for (let k = 0; k < 3; k++) image.data[at + k] += LIGHT[channel][k];
        image.data[at + 3] = 255;
      }
    }
  }
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
  return canvas;
}

/** The large histogram of red, green, blue and luma, laid over each other. `update({bins, counts} | null)`. */
export function createHistogram() {
  const shown = new Set(CHANNELS.map(([key]) => key));
  let logarithmic = false;
  let histogram = null;

  const plot = svg("svg", { class: "da-bars", preserveAspectRatio: "none", role: "img" });
  const labels = el("div", { class: "da-bars-labels", "aria-hidden": "true" });
  const values = el("div", { class: "da-bars-values", "aria-hidden": "true" });
  const absent = el("p", { class: "da-bars-absent", hidden: "" }, "There is no picture to count.");
  const readout = el("p", { class: "da-bars-readout" });
  const scale = ["linear", "log"].map((name) =>
    el("button", { type: "button", "data-scale": name, onclick: () => scaleTo(name === "log") }, name),
  );
  const toggles = CHANNELS.map(([key, name]) =>
    el(
      "label",
      { class: "da-bars-channel", "data-channel": key },
      el("input", { type: "checkbox", checked: "", onchange: (event) => toggle(key, event.target.checked) }),
      el("i", { "aria-hidden": "true" }),
      key === "luma" ? term("luma", name) : name,
    ),
  );
  const frame = el("div", { class: "da-bars-frame" }, values, plot, labels, absent);
  const root = el(
    "div",
    { class: "da-histogram" },
    el(
      "div",
      { class: "da-bars-options" },
      el("div", { class: "da-bars-channels", role: "group", "aria-label": "Channels" }, ...toggles),
      el("div", { class: "da-bars-scale", role: "group", "aria-label": "Scale of the counts" }, ...scale),
    ),
    frame,
    readout,
  );
  plot.addEventListener("pointermove", (event) => read(event));
  plot.addEventListener("pointerleave", () => say());

  function scaleTo(value) {
    logarithmic = value;
    draw();
  }

  function toggle(key, on) {
    if (on) shown.add(key);
    else shown.delete(key);
    draw();
  }

  function update(next) {
    histogram = next;
    draw();
  }

  function draw() {
    for (const button of scale) button.setAttribute("aria-pressed", String((button.dataset.scale === "log") === logarithmic));
    absent.hidden = Boolean(histogram);
    plot.replaceChildren();
    labels.replaceChildren();
    values.replaceChildren();
    say();
    if (!histogram) return;
    const { bins, counts } = histogram;
    const visible = CHANNELS.map(([key], at) => [key, counts[at]]).filter(([key]) => shown.has(key));
    const most = Math.max(1, ...visible.flatMap(([, of]) => of));
    const ticks = logarithmic ? decades(most) : niceTicks(0, most);
    const top = ticks.at(-1);
    const share = logarithmic ? (count) => Math.log1p(count) / Math.log1p(top) : (count) => count / top;
    const y = (count) => 100 * (1 - share(count));
    plot.setAttribute("viewBox", `0 0 ${bins} 100`);
    plot.setAttribute("aria-label", `Histogram of the picture in ${bins} bins, from 0 to 255`);
    plot.append(
      ...ticks.map((tick) => svg("path", { class: "da-bars-grid", d: `M0 ${y(tick)}H${bins}` })),
      ...visible.map(([key, of]) =>
        svg("path", { class: "da-bars-area", "data-channel": key, d: `M0 100${of.map((c, k) => `V${y(c).toFixed(2)}H${k + 1}`).join("")}V100Z` }),
      ),
    );
    values.append(...ticks.map((tick) => el("span", { style: `top: ${y(tick)}%` }, short(tick))));
    labels.append(
      ...[0, 64, 128, 192, 255].map((value) => el("span", { style: `left: ${(100 * value) / 255}%` }, String(value))),
    );
  }

  function read(event) {
    if (!histogram) return;
    const { bins, counts } = histogram;
    const box = plot.getBoundingClientRect();
    const bin = Math.max(0, Math.min(bins - 1, Math.floor((bins * (event.clientX - box.left)) / box.width)));
    const width = 256 / bins;
    const parts = CHANNELS.map(([key, name], at) => (shown.has(key) ? `${name} ${counts[at][bin]}` : null)).filter(Boolean);
    say(`${bin * width} to ${(bin + 1) * width - 1}: ${parts.join(", ")}`);
  }

  function say(text) {
    readout.textContent = text ?? (histogram ? "Pixels in each of the bins, by value. Point at a bin to read its counts." : "");
  }

  return { root, update };
}

function decades(most) {
  const ticks = [0, 1];
  while (ticks.at(-1) < most) ticks.push(ticks.at(-1) * 10);
  return ticks;
}
