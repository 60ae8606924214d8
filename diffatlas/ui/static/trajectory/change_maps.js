// Which channels of the latents a run changes in which step, and where in the picture.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { heatMap, legend } from "../figures/heat_map.js";
import { decodeFloats } from "../core/state.js";
import { term } from "../core/tips.js";

const UNIT = "latent units, root mean square";

/** The maps of a layer, asked of the server at once. `onSelect(index)` for a step; `mark(index)` shows it. */
export function changeMaps({ id, server, onSelect, total }) {
  const node = el("div", { class: "da-maps", style: `--da-steps: ${total}` }, el("p", { class: "da-caption" }, "The maps of change are being computed…"));
  let marked = null;
  const markers = [];

  ask(server, "deep", { id }).then(draw, (error) => node.replaceChildren(el("p", { class: "da-problem" }, error.message)));

  function draw({ channels, spatial, whole, note }) {
    node.replaceChildren(
      ...[
        channels && channelMap(channels),
        spatial && whole && placeMaps(spatial, whole),
        note && el("p", { class: "da-caption" }, note),
      ].filter(Boolean),
    );
    const index = marked;
    marked = null;
    mark(index);
  }

  function channelMap({ steps, channels, values, largest: max }) {
    const matrix = decodeFloats(values); // (steps, channels)
    const across = new Float32Array(matrix.length);
    for (let step = 0; step < steps; step++) {
      for (let channel = 0; channel < channels; channel++) across[channel * steps + step] = matrix[step * channels + channel];
    }
    const readout = el("span", { class: "da-readout" });
    const line = el("span", { class: "da-map-mark", hidden: "" });
    const canvas = heatMap({
      rows: channels,
      columns: steps,
      values: across,
      max,
      label: `Change by channel and step: ${channels} channels, ${steps} steps, up to ${significant(max, 3)}`,
      onRead: (row, column, value) => {
        readout.textContent = row === null ? "" : `step ${column + 1}, channel ${row}: ${significant(value)}`;
      },
    });
    canvas.style.height = `${Math.min(224, Math.max(14, Math.floor(224 / channels)) * channels, 22 * channels)}px`;
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      onSelect(Math.min(steps - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * steps))));
    });
    markers.push((index) => {
      line.hidden = index === null || index >= steps;
      line.style.left = `${(100 * index) / steps}%`;
      line.style.width = `${100 / steps}%`;
    });
    return el(
      "figure",
      { class: "da-map" },
      el("figcaption", { class: "da-plot-title" }, term("channel_change", "Change by channel"), readout),
      el(
        "div",
        { class: "da-map-frame" },
        el("div", { class: "da-map-rows", "aria-hidden": "true" }, el("span", {}, "channel 0"), channels > 1 ? el("span", {}, String(channels - 1)) : null),
        el("div", { class: "da-map-canvas" }, canvas, line),
      ),
      el("div", { class: "da-map-columns", "aria-hidden": "true" }, el("span", {}, "step 1"), el("span", {}, String(steps))),
      legend(max, UNIT),
    );
  }

  function placeMaps(spatial, whole) {
    const { steps, height, width } = spatial;
    const maps = decodeFloats(spatial.values);
    const over = decodeFloats(whole.values);
    const [most, mostOver] = [spatial.largest, whole.largest];
    const readout = el("span", { class: "da-readout" });
    const say = (words) => (row, column, value) => {
      readout.textContent = row === null ? "" : `${words}, row ${row}, column ${column}: ${significant(value)}`;
    };
    const buttons = Array.from({ length: steps }, (_, index) =>
      el(
        "button",
        // The rows of the table do the same for the keyboard.
        { type: "button", class: "da-map-step", tabindex: -1, "aria-label": `Select step ${index + 1}`, onclick: () => onSelect(index) },
        heatMap({
          rows: height,
          columns: width,
          values: maps.subarray(index * height * width, (index + 1) * height * width),
          max: most,
          label: `Change by place in step ${index + 1}`,
          onRead: say(`step ${index + 1}`),
        }),
        el("span", {}, String(index + 1)),
      ),
    );
    markers.push((index) => buttons.forEach((button, at) => button.classList.toggle("da-chosen", at === index)));
    return el(
      "figure",
      { class: "da-map" },
      el("figcaption", { class: "da-plot-title" }, term("spatial_change", "Change by place"), readout),
      el(
        "div",
        { class: "da-places" },
        el(
          "div",
          { class: "da-place-whole" },
          heatMap({ rows: whole.height, columns: whole.width, values: over, max: mostOver, label: `Change by place over the whole run, up to ${significant(mostOver, 3)}`, onRead: say("whole run") }),
          el("p", { class: "da-map-name" }, "the whole run"),
          legend(mostOver, ""),
        ),
        el(
          "div",
          { class: "da-place-steps" },
          el("div", { class: "da-place-strip" }, ...buttons),
          el("p", { class: "da-map-name" }, "each step, on one scale"),
          legend(most, UNIT),
        ),
      ),
    );
  }

  function mark(index) {
    if (index === marked) return;
    marked = index;
    for (const marker of markers) marker(index);
  }

  return { node, mark };
}
