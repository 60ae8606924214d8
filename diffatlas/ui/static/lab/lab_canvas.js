// Drawing surfaces of the 2D Lab: sharp on any screen, drawn again when their size or the page's colours change.

import { el, onTheme } from "../core/dom.js";

const watched = new Set();
onTheme(() => watched.forEach((again) => again()));

/** The page's colours, by name. */
function inks() {
  const style = getComputedStyle(document.body);
  const of = (name) => style.getPropertyValue(`--da-${name}`).trim();
  return { paper: of("paper"), sheet: of("sheet"), ink: of("ink"), muted: of("muted"), rule: of("rule"), burgundy: of("burgundy"), gold: of("gold"), mono: of("mono") };
}

/**
 * A canvas that fills its width: square, or `height` px high. `draw(paint)` keeps `paint(context, width, height, inks)`
 * and calls it again whenever it must.
 */
export function createCanvas({ label, height = null, ...attributes }) {
  const canvas = el("canvas", { role: "img", "aria-label": label, ...attributes });
  const node = el("div", { class: "da-lab-canvas" }, canvas);
  let paint = () => {};

  function again() {
    const width = node.clientWidth;
    if (!width) return;
    const high = height ?? width;
    const ratio = window.devicePixelRatio || 1;
    const size = [Math.round(width * ratio), Math.round(high * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
      canvas.style.height = `${high}px`;
    }
    // Kept in main memory: drawings this small gain nothing on a graphics card, and lose much where that is emulated.
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = inks();
    context.fillStyle = colours.sheet;
    context.fillRect(0, 0, width, high);
    paint(context, width, high, colours);
  }

  new ResizeObserver(again).observe(node);
  watched.add(again);

  function draw(next) {
    paint = next ?? paint;
    again();
  }

  return { node, canvas, draw };
}

/** Numbers that were sent as 16-bit shares of `extent`, as float32. */
export function decodeShorts(base64, extent) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer), (value) => (value * extent) / 32767);
}

/** From the plane, [-extent, extent] both ways with y up, to px. */
export function toPixels(width, height, extent) {
  return [(x) => ((x / extent + 1) * width) / 2, (y) => ((1 - y / extent) * height) / 2];
}

/** Dots: `points` is x, y, x, y…; `colourOf(k)` returns the colour of a point. */
export function drawPoints(context, points, [px, py], colourOf, radius, alpha = 0.75) {
  context.globalAlpha = alpha;
  const byColour = new Map();
  for (let k = 0; k < points.length / 2; k++) {
    const colour = colourOf(k);
    if (!byColour.has(colour)) byColour.set(colour, []);
    byColour.get(colour).push(k);
  }
  for (const [colour, members] of byColour) {
    context.fillStyle = colour;
    context.beginPath();
    for (const k of members) {
      const x = px(points[2 * k]);
      const y = py(points[2 * k + 1]);
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    }
    context.fill();
  }
  context.globalAlpha = 1;
}
