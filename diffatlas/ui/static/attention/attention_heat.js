// Words by steps: how much each word is read at each step, or how far apart two runs are.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { cellAt, heatMap, largest, legend } from "../figures/heat_map.js";

/**
 * Create the matrix. `title` is a node; `onChoose(row, column)` is called for a cell. Rows are {text}, columns are
 * steps {index}.
 */
export function createMatrix({ title, unit = "", onChoose }) {
  const readout = el("span", { class: "da-readout" });
  const names = el("div", { class: "da-matrix-names", "aria-hidden": "true" });
  const mark = el("span", { class: "da-map-mark", hidden: "" });
  const frame = el("div", { class: "da-map-canvas" });
  const ends = el("div", { class: "da-map-columns", "aria-hidden": "true" });
  const scale = el("div", {});
  const node = el("figure", { class: "da-map da-matrix" }, el("figcaption", { class: "da-plot-title" }, title, readout), el("div", { class: "da-matrix-frame" }, names, frame, ends), scale);
  let drawn = null;
  let shown = null;

  /** `values`: rows x columns, row by row. `byRow`: each row in colours of its own. `chosen`: {rows: [...], column}. */
  function update({ rows, columns, values, byRow = false, chosen, label }) {
    if (drawn?.values !== values || drawn.byRow !== byRow) {
      drawn = { values, byRow };
      const count = columns.length;
      const tinted = byRow ? Float32Array.from(values, (value, k) => value / (largest(values.subarray(Math.floor(k / count) * count, (Math.floor(k / count) + 1) * count)) || 1)) : values;
      const most = byRow ? 1 : largest(values);
      const canvas = heatMap({
        rows: rows.length,
        columns: count,
        values: tinted,
        max: most,
        label,
        onRead: (row, column) => {
          readout.textContent = row === null ? "" : `${rows[row].text}, step ${columns[column].index + 1}: ${significant(values[row * count + column])}`;
        },
      });
      canvas.style.height = `${20 * rows.length}px`;
      canvas.addEventListener("click", (event) => {
        const { row, column } = cellAt(canvas, event);
        onChoose(row, column);
      });
      frame.replaceChildren(canvas, mark);
      names.replaceChildren(...rows.map((row, k) => el("button", { type: "button", class: "da-matrix-name", tabindex: -1, dir: "auto", onclick: () => onChoose(k, shown.column) }, row.text)));
      ends.replaceChildren(el("span", {}, `step ${columns[0].index + 1}`), count > 1 ? el("span", {}, String(columns.at(-1).index + 1)) : "");
      scale.replaceChildren(byRow ? el("p", { class: "da-caption" }, "Each row has colours of its own, from 0 to its largest value.") : legend(most, unit));
    }
    shown = chosen;
    mark.hidden = chosen.column === null;
    mark.style.left = `${(100 * (chosen.column ?? 0)) / columns.length}%`;
    mark.style.width = `${100 / columns.length}%`;
    [...names.children].forEach((name, k) => name.classList.toggle("da-chosen", chosen.rows.includes(k)));
  }

  return { node, update };
}
