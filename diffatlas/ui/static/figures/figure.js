// A figure as plotly.js draws it: with zoom, and files to be kept.

import { createFrame } from "./figure_frame.js";
import { createPlotlyPen } from "./plotly_pen.js";

/** Create a figure in `root`; `options` as figure_frame.js takes them. */
export const createFigure = (root, options) => createFrame(root, createPlotlyPen, options);
