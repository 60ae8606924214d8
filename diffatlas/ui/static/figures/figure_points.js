// Pointing at the points of a figure's charts: the nearest is meant, and is marked in every chart that has it.

import { svg } from "../core/dom.js";
import { isNone } from "./figure_words.js";

const REACH = 26; // px from the pointer to the point it means
const NEARER = 0.7; // a point that stands out is meant rather than those around it

/**
 * Create it. A trace whose points can be chosen has in its `meta` `points: true`, and `apart: true` where they stand
 * out; what a point stands for is its `customdata`, a text or a list of them. `onChoose(point)` and `onPoint(point or
 * null)` are called with {of, x, y, panel}, where `of` is that list.
 */
export function createPoints({ onChoose, onPoint }) {
  let points = []; // {id, of, x, y, panel, apart}, by x
  let panels = [];
  let chosen = null; // {id, touching}
  let told = null;

  /** Take a figure: its layout, its charts, and those of its traces that are not hidden. */
  function read(layout, charts, traces) {
    panels = charts;
    points = traces
      .filter(({ meta }) => meta?.points)
      .flatMap(({ meta, x, y, customdata, xaxis }) =>
        x.map((at, k) => {
          const of = [customdata[k]].flat();
          return { id: idOf(of), of, x: at, y: y[k], panel: Number((xaxis ?? "x").slice(1) || 1) - 1, apart: Boolean(meta.apart) };
        }),
      )
      .filter(({ x, y }) => !isNone(x) && !isNone(y))
      .sort((a, b) => a.panel - b.panel || a.x - b.x || a.y - b.y);
  }

  const placed = ({ panel, x, y }) => [panels[panel].x(x), panels[panel].y(y)];

  function aim(panel, left, top) {
    let best = null;
    let least = REACH;
    for (const point of points.filter((each) => each.panel === panel)) {
      const [x, y] = placed(point);
      const away = Math.hypot(x - left, y - top) * (point.apart ? NEARER : 1);
      if (away < least) [best, least] = [point, away];
    }
    return best;
  }

  const press = (pointed) => pointed && onChoose(pointed);

  /** Return what lies over the charts: rings around the points that touch what is chosen, and what is pointed at. */
  function mark(pointed) {
    const another = pointed !== told;
    told = pointed; // first: whoever is told may mark something
    if (another) onPoint(pointed);
    const parts = [];
    const now = pointed?.id ?? chosen?.id ?? null;
    for (const point of points) {
      const panel = panels[point.panel];
      const touches = !isNone(chosen?.touching) && point.of.includes(chosen.touching);
      if (!panel.area || (!touches && point.id !== now)) continue;
      const [x, y] = placed(point);
      const { left, right, top, bottom } = panel.area;
      if (x < left - 1 || x > right + 1 || y < top - 1 || y > bottom + 1) continue;
      if (point.id === now) parts.push(svg("path", { d: `M${x},${bottom}V${y}H${left}`, class: "da-point-rule" }), svg("circle", { cx: x, cy: y, r: 6, class: "da-point-now" }));
      else parts.push(svg("circle", { cx: x, cy: y, r: 5.5, class: "da-point-touch" }));
    }
    return parts;
  }

  /** The arrow keys lead from point to point of the first chart; returns the point to be pointed at, or null. */
  function step({ key }, pointed) {
    const on = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[key];
    const own = points.filter(({ panel }) => panel === (pointed?.panel ?? points[0]?.panel));
    if (!on || !own.length) return null;
    const from = own.findIndex(({ id }) => id === (pointed?.id ?? chosen?.id));
    return own[from < 0 ? 0 : Math.min(own.length - 1, Math.max(0, from + on))];
  }

  return { read, aim, press, mark, step, choose: (next) => (chosen = next), find: (of) => points.find(({ id }) => id === idOf(of)) ?? null };
}

const idOf = (of) => [...of].sort().join(" ");
