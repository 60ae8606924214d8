// Small pictures of points: the source, the target, the presets of the menu.

import { createCanvas, drawPoints, toPixels } from "./lab_canvas.js";

/** A square of points. `update(points, labels or null, extent)`. */
export function createMini({ label, palette, radius = 1.5 }) {
  const surface = createCanvas({ label });
  let drawn = null;

  function update(points, labels, extent) {
    if (drawn === points) return;
    drawn = points;
    surface.draw((context, width, height, inks) => {
      if (!points) return;
      drawPoints(context, points, toPixels(width, height, extent), labels ? (k) => palette[labels[k] % palette.length] : () => inks.ink, radius);
    });
  }

  return { node: surface.node, canvas: surface.canvas, update };
}
