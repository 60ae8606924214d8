// Which cells of the films are filled: those in sight and around, and as many of the others as do no harm.

import { cover, expose } from "./film_cell.js";

const AROUND = "400px"; // so far out of sight a cell is filled before it comes
const KEPT = 120; // cells out of sight that stay filled; as many are filled at once
const FEW = 12; // as are those of a film that grows by so few, of which the last are in sight

/** Create it for the cells in the scrolled box `root`. */
export function createExposure(root) {
  const shows = new WeakMap(); // cell -> [step, about]
  const seen = new Set(); // cells in sight
  const filled = new Set(); // the longest filled first

  const sight = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) seen.add(target);
        else seen.delete(target);
        if (isIntersecting) fill(target);
      }
      thin();
    },
    { root, rootMargin: AROUND },
  );

  function fill(cell) {
    expose(cell, ...shows.get(cell));
    filled.delete(cell);
    filled.add(cell);
  }

  // What has the focus or is chosen stays.
  function thin() {
    let spare = filled.size - seen.size - KEPT;
    for (const cell of filled) {
      if (spare <= 0) return;
      if (seen.has(cell) || cell.hasAttribute("data-chosen") || cell.contains(document.activeElement)) continue;
      filled.delete(cell);
      if (cell.isConnected) cover(cell);
      spare -= 1;
    }
  }

  return {
    /** Take in the cells of `steps` of a run; `about` has its metrics and what was asked. */
    watch(cells, steps, about) {
      cells.forEach((cell, k) => {
        shows.set(cell, [steps[k], about]);
        if (filled.size < KEPT || cells.length <= FEW) fill(cell);
        sight.observe(cell);
      });
    },
    /** Forget cells that are no more. */
    forget(cells) {
      for (const cell of cells) {
        sight.unobserve(cell);
        seen.delete(cell);
        filled.delete(cell);
      }
    },
  };
}
