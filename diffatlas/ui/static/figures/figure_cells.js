// Pointing at the squares of a figure's heat map: the row and the column of the one that is meant are marked.

import { svg } from "../core/dom.js";

const STEPS = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };

/**
 * Create it. The heat map is the trace that has in its `meta` `cells`, what each row and each column stands for.
 * `onChoose(square)` and `onPoint(square or null)` are called with {row, column, of: [a, b], value}.
 */
export function createCells({ onChoose, onPoint }) {
  let keys = [];
  let values = [];
  let panel = null;
  let chosen = null; // {id, of}: the row that is marked, and the square that is held
  let told = null;

  /** Take a figure: its layout, its charts, and those of its traces that are not hidden. */
  function read(layout, panels, traces) {
    const map = traces.find(({ meta }) => meta?.cells);
    [panel] = panels;
    keys = map?.meta.cells ?? [];
    values = map?.z ?? [];
  }

  const square = (row, column) => ({ row, column, of: [keys[row], keys[column]], value: values[row][column] });

  function aim(_, left, top) {
    const [row, column] = [Math.round(panel.up(top)), Math.round(panel.back(left))];
    if (!(row in keys) || !(column in keys)) return null;
    // The same square again is the same thing that is pointed at.
    return told && told.row === row && told.column === column ? told : square(row, column);
  }

  const press = (pointed) => pointed && onChoose(pointed);

  /** Return what lies over the map. */
  function mark(pointed) {
    const another = pointed !== told;
    told = pointed;
    if (another) onPoint(pointed);
    if (!panel?.area) return [];
    const held = chosen?.of ? square(keys.indexOf(chosen.of[0]), keys.indexOf(chosen.of[1])) : null;
    const now = pointed ?? held;
    const row = keys.indexOf(chosen?.id);
    const [west, east] = [panel.x(-0.5), panel.x(keys.length - 0.5)];
    const [north, south] = [panel.y(-0.5), panel.y(keys.length - 0.5)];
    const size = (east - west) / keys.length;
    const box = (x, y, width, height, kind) => svg("rect", { x, y, width, height, class: kind });
    return [
      ...(row >= 0 ? [box(west, north + row * size, east - west, size, "da-cells-chosen")] : []),
      ...(now ? [box(west + now.column * size, north, size, south - north, "da-cells-line"), box(west, north + now.row * size, east - west, size, "da-cells-line"), box(west + now.column * size, north + now.row * size, size, size, "da-cells-now")] : []),
    ];
  }

  /** The arrow keys lead from square to square; returns the one to be pointed at, or null. */
  function step({ key }, pointed) {
    if (!(key in STEPS) || !keys.length) return null;
    const [down, right] = STEPS[key];
    const within = (value) => Math.min(keys.length - 1, Math.max(0, value));
    return pointed ? square(within(pointed.row + down), within(pointed.column + right)) : square(0, 0);
  }

  return { read, aim, press, mark, step, choose: (next) => (chosen = next) };
}
