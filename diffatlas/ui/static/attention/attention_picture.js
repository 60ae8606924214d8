// A picture with a map laid over it: the values are brought to the picture's size, then coloured, then mixed with it,
// as `diffatlas.geometry.overlay` does.

import { el, svg } from "../core/dom.js";
import { colourOf } from "../figures/ramp.js";

const SIDE = 256; // longest side of what is drawn, in canvas pixels
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * A map of `rows` x `columns` values, row by row, at `height` x `width`: linear between the cells' centres, the
 * border's value beyond them.
 */
export function resample(values, rows, columns, height, width) {
  const down = cellsAlong(rows, height);
  const across = cellsAlong(columns, width);
  const out = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const [top, bottom, v] = down[y];
    for (let x = 0; x < width; x++) {
      const [left, right, u] = across[x];
      const above = values[top * columns + left] * (1 - u) + values[top * columns + right] * u;
      const below = values[bottom * columns + left] * (1 - u) + values[bottom * columns + right] * u;
      out[y * width + x] = above * (1 - v) + below * v;
    }
  }
  return out;
}

// For each pixel: the cells before and after its centre, and the share of the second.
function cellsAlong(cells, pixels) {
  return Array.from({ length: pixels }, (_, k) => {
    const centre = Math.min(cells - 1, Math.max(0, ((k + 0.5) * cells) / pixels - 0.5));
    const first = Math.floor(centre);
    return [first, Math.min(cells - 1, first + 1), centre - first];
  });
}

/** Draw values on a canvas of rows x columns cells: `low` has the ramp's first colour and `high` its last. */
function paint(canvas, { map, rows, columns, low, high, side = SIDE }) {
  const scale = side / Math.max(rows, columns);
  const [height, width] = [Math.max(1, Math.round(rows * scale)), Math.max(1, Math.round(columns * scale))];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const large = resample(map, rows, columns, height, width);
  for (let at = 0; at < large.length; at++) {
    const [r, g, b] = colourOf(high > low ? (large[at] - low) / (high - low) : 0);
    image.data.set([r, g, b, 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
}

/**
 * Create the picture. `label` is heard for it. `onPlace(x, y)` is called for a place that is chosen by pointer or
 * arrow keys, in shares of the width and the height; without it nothing can be chosen. `onRead(value, row, column)` is
 * called under the pointer, with null when it leaves. `side`: canvas pixels of the longer side.
 */
export function createAttentionPicture({ label = "", onPlace = null, onRead = null, side = SIDE } = {}) {
  const image = el("img", { alt: "", draggable: "false", hidden: "" });
  const canvas = el("canvas", { "aria-hidden": "true", hidden: "" });
  const boxes = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  const place = el("span", { class: "da-attention-place", "aria-hidden": "true", hidden: "" });
  const node = el("div", { class: "da-attention-picture", role: onPlace ? "application" : "img", "aria-label": label, tabindex: onPlace ? 0 : null }, image, canvas, boxes, place);
  let shown = null;

  function share(event) {
    const area = node.getBoundingClientRect();
    const within = (value) => Math.min(1 - 1e-9, Math.max(0, value));
    return [within((event.clientX - area.left) / area.width), within((event.clientY - area.top) / area.height)];
  }

  if (onRead) {
    node.addEventListener("pointermove", (event) => {
      if (!shown?.map) return;
      const [x, y] = share(event);
      const [row, column] = [Math.floor(y * shown.rows), Math.floor(x * shown.columns)];
      onRead(shown.map[row * shown.columns + column], row, column);
    });
    node.addEventListener("pointerleave", () => onRead(null));
  }
  if (onPlace) {
    node.classList.add("da-choosable");
    node.addEventListener("click", (event) => onPlace(...share(event)));
    node.addEventListener("keydown", (event) => {
      const by = KEYS[event.key];
      if (!by || !shown) return;
      event.preventDefault();
      event.stopPropagation();
      // From the middle of one cell to that of the next.
      const [x, y] = shown.place ?? [0.5, 0.5];
      const move = (value, count, step) => (Math.min(count - 1, Math.max(0, Math.floor(value * count) + step)) + 0.5) / count;
      onPlace(move(x, shown.columns, by[0]), move(y, shown.rows, by[1]));
    });
  }

  /**
   * Show `picture` (an address, or null) and over it `map` (rows x columns values, or null) with `share` (0 to 1) of
   * the colour. `place`: [x, y] to be marked. `boxes`: [{box: [left, top, right, bottom], own}] in shares of the sides.
   */
  function draw(next) {
    shown = { picture: null, map: null, rows: 1, columns: 1, low: 0, high: 1, share: 0.6, place: null, boxes: [], label, ...next };
    image.hidden = !shown.picture;
    if (shown.picture && image.getAttribute("src") !== shown.picture) image.src = shown.picture;
    canvas.hidden = !shown.map;
    if (shown.map) paint(canvas, { ...shown, side });
    // Without a picture there is nothing to mix with.
    canvas.style.opacity = shown.picture ? shown.share : 1;
    node.style.aspectRatio = `${shown.columns} / ${shown.rows}`;
    node.setAttribute("aria-label", shown.label);
    place.hidden = !shown.place;
    if (shown.place) {
      place.style.left = `${100 * shown.place[0]}%`;
      place.style.top = `${100 * shown.place[1]}%`;
    }
    boxes.replaceChildren(
      ...shown.boxes.map(({ box: [left, top, right, bottom], own }) =>
        svg("rect", { x: left, y: top, width: right - left, height: bottom - top, class: own ? "da-own" : "da-other" }),
      ),
    );
  }

  return { node, draw };
}
