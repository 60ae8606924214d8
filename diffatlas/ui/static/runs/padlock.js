// The padlock, open or closed. It says nothing by itself: name it in words.

import { svg } from "../core/dom.js";

export function padlock(closed) {
  return svg(
    "svg",
    { viewBox: "0 0 16 18", width: 14, height: 16, "aria-hidden": "true" },
    svg("path", { d: closed ? "M4.5 8V5.2a3.5 3.5 0 0 1 7 0V8" : "M4.5 8V4.7a3.5 3.5 0 0 1 6.8-1.2", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round" }),
    svg("rect", { x: 2.3, y: 8, width: 11.4, height: 8.4, rx: 1.4, fill: closed ? "currentColor" : "none", stroke: "currentColor", "stroke-width": 1.5 }),
  );
}
