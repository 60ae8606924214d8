// The histogram of a picture (diffatlas/figures/picture_values.py). It changes with each step that is played, so it is
// drawn as plain SVG.

import { el } from "../core/dom.js";
import { createSmallFigure } from "../figures/small_figure.js";

/** Create it; `update(figure or null)` draws one. */
export function createPictureHistogram() {
  const absent = el("p", { class: "da-histogram-absent", hidden: "" }, "There is no picture to count.");
  const place = el("div", {});
  const chart = createSmallFigure(place, { onChoose: (line, at) => chart.choose({ line, at }) });
  const root = el("div", { class: "da-histogram" }, place, absent);

  function update(figure) {
    absent.hidden = Boolean(figure);
    place.hidden = !figure;
    if (figure) chart.draw(figure);
  }

  return { root, update };
}
