// The pictures that a run was given, as image-to-image and ControlNet are: small, each under the argument's name.

import { el } from "../core/dom.js";

const SMALL = 128; // px: smaller pictures are enlarged pixel by pixel

/** Figures of `inputs` ({name, width, height, url}) in a row, or null where there are none. */
export function givenPictures(inputs) {
  if (!inputs?.length) return null;
  const title = inputs.length > 1 ? "Pictures that it was given" : "The picture that it was given";
  return el("div", { class: "da-given", role: "group", "aria-label": title }, el("p", {}, title), ...inputs.map(figure));
}

function figure({ name, width, height, url }) {
  const pixels = Math.max(width, height) <= SMALL ? "da-pixels" : null;
  const shown = url ? el("img", { src: url, alt: `${name}: a picture that the run was given`, class: pixels, loading: "lazy" }) : el("span", {}, "not kept");
  return el("figure", {}, shown, el("figcaption", {}, el("span", { class: "da-mono" }, name), el("span", {}, `${width} × ${height}`)));
}
