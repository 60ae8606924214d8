// The legend of a figure, as buttons: it wraps where plotly.js would cut long names off. Each shows and hides its lines.

import { el, svg } from "../core/dom.js";

const DASHES = { dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "10 4", longdashdot: "10 3 2 3" };

/** The dashes of a line as SVG has them; null where it is whole. */
export const dashOf = (line) => DASHES[line?.dash] ?? (line?.dash?.endsWith("px") ? line.dash.replaceAll("px", "") : null);

const SYMBOLS = { circle: "●", "circle-open": "○", square: "■", diamond: "◆", "triangle-up": "▲", "triangle-down": "▼", x: "✖", cross: "✚", star: "★", pentagon: "⬟", hexagon: "⬢" };

/** Create the legend in a figure; `onToggle(numbers of traces, shown)` is called when one is pressed. */
export function createLegend({ onToggle }) {
  const node = el("div", { class: "da-figure-legend", role: "group", "aria-label": "Legend" });
  const hidden = new Set(); // keys of what is hidden

  /** Show the entries of traces, in the order of their ranks; `plain` turns a name back into words. */
  function update(traces, plain) {
    const groups = new Map();
    traces.forEach((trace, number) => {
      const key = trace.legendgroup ?? `${number}`;
      const group = groups.get(key) ?? { numbers: [], entry: null };
      group.numbers.push(number);
      if (trace.showlegend !== false && trace.name) group.entry ??= trace;
      groups.set(key, group);
    });
    const shown = [...groups].filter(([, { entry }]) => entry).sort(([, a], [, b]) => (a.entry.legendrank ?? 1000) - (b.entry.legendrank ?? 1000));
    node.hidden = shown.length < 2;
    node.replaceChildren(
      ...shown.map(([key, { numbers, entry }]) => {
        const press = (event) => {
          const off = !hidden.delete(key);
          if (off) hidden.add(key);
          event.currentTarget.setAttribute("aria-pressed", String(!off));
          onToggle(numbers, !off);
        };
        return el("button", { type: "button", class: "da-figure-entry", "aria-pressed": String(!hidden.has(key)), onclick: press }, sample(entry), plain(entry.name));
      }),
    );
  }

  return { node, update, isHidden: (trace, number) => hidden.has(trace.legendgroup ?? `${number}`) };
}

function sample({ mode = "lines", line, marker, fillcolor }) {
  const colour = line?.color ?? marker?.color ?? fillcolor ?? "currentColor";
  const parts = [];
  if (mode.includes("lines")) parts.push(svg("line", { x1: 0, x2: 26, y1: 6, y2: 6, stroke: colour, "stroke-width": 2, "stroke-dasharray": dashOf(line) }));
  if (mode.includes("markers")) parts.push(svg("text", { x: 13, y: 10, "text-anchor": "middle", "font-size": 11, fill: inkOf(marker, colour) }, SYMBOLS[`${marker?.symbol ?? "circle"}${marker?.line?.width > 1 ? "-open" : ""}`] ?? SYMBOLS[marker?.symbol] ?? "●"));
  return svg("svg", { width: 26, height: 12, viewBox: "0 0 26 12", "aria-hidden": "true" }, ...parts);
}

// A ring is seen by its line.
function inkOf(marker, colour) {
  if (marker?.line?.width > 1) return marker.line.color ?? marker.color;
  return typeof marker?.color === "string" ? marker.color : colour;
}
