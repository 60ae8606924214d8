// A figure as plain SVG: where plotly.js is not at hand, or a picture changes faster than that draws.

import { createFrame } from "./figure_frame.js";
import { createSvgPen } from "./svg_pen.js";

/** Create a figure in `root`; `options` as figure_frame.js takes them. */
export const createSmallFigure = (root, options) => createFrame(root, createSvgPen, options);
