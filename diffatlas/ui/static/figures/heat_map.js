// A matrix as colours, one canvas pixel each; the style sheet makes it larger.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { colourOf, gradient } from "./ramp.js";

/**
 * A canvas of `rows` x `columns` values (row-major), 0 at the ramp's dark end and `max` at its light end.
 * `onRead(row, column, value)` is called under the pointer, and with null when it leaves.
 */
export function heatMap({ rows, columns, values, max, label, onRead, ...attributes }) {
  const canvas = el("canvas", { width: columns, height: rows, class: "da-heat", role: "img", "aria-label": label, ...attributes });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let at = 0; at < rows * columns; at++) {
    const [r, g, b] = colourOf(max > 0 ? values[at] / max : 0);
    image.data.set([r, g, b, 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
  if (onRead) {
    canvas.addEventListener("pointermove", (event) => {
      const { row, column } = cellAt(canvas, event);
      onRead(row, column, values[row * columns + column]);
    });
    canvas.addEventListener("pointerleave", () => onRead(null));
  }
  return canvas;
}

/** The cell under the pointer. */
function cellAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const within = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  return {
    row: within((event.clientY - box.top) / box.height, canvas.height),
    column: within((event.clientX - box.left) / box.width, canvas.width),
  };
}

/** The ramp with its ends. */
export function legend(max, unit) {
  const bar = el("span", { class: "da-ramp", "aria-hidden": "true" });
  bar.style.backgroundImage = gradient();
  return el("div", { class: "da-map-legend" }, el("span", {}, "0"), bar, el("span", {}, `${significant(max, 3)} ${unit}`));
}
