// The histogram under a frame of the film: a picture of sixteen bins, without axes.

import { el } from "../core/dom.js";
import { decodeBytes } from "../core/state.js";

const BINS = 16;
const ROWS = 24;
// Red, green and blue add up to about white, as light does.
const LIGHT = [
  [226, 84, 74],
  [62, 176, 104],
  [74, 118, 236],
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
