// The paths of the latents in two dimensions, on one scale: gold where they begin, burgundy where they end.

import { el, svg } from "../../../ui/static/core/dom.js";

const [WIDTH, HEIGHT, PAD] = [640, 420, 26];

/**
 * Create the plot of `path` {coords: points of each run, axes, captured}; `names` are the runs'. `onGo(run, point)` is
 * called for a point: 0 is the noise, k the state after k steps. `path.from` is 1 where the first is that after the first
 * step.
 */
export function createPathPlot({ path, names, onGo }) {
  const from = path.from ?? 0;
  const all = path.coords.flat();
  const range = (axis) => {
    const values = all.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [[left, right], [low, high]] = [range(0), range(1)];
  const scale = Math.min((WIDTH - 2 * PAD) / (right - left || 1), (HEIGHT - 2 * PAD) / (high - low || 1));
  const x = (value) => WIDTH / 2 + (value - (left + right) / 2) * scale;
  const y = (value) => HEIGHT / 2 - (value - (low + high) / 2) * scale;
  const marks = svg("g");
  const runs = path.coords.map((points, run) => {
    const line = points.map(([a, b], k) => `${k ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join("");
    const dots = points.map(([a, b], state) =>
      svg("circle", { class: "da-path-state", cx: x(a), cy: y(b), r: 6, onclick: () => onGo(run, state) }, svg("title", {}, state + from ? `step ${state + from}` : "the noise")),
    );
    const [first, last] = [points[0], points.at(-1)];
    return svg(
      "g",
      { class: run ? "da-path-second" : "da-path-first" },
      svg("path", { class: "da-path-line", d: line }),
      ...points.map(([a, b]) => svg("circle", { class: "da-path-dot", cx: x(a), cy: y(b), r: 2.2 })),
      svg("circle", { class: "da-path-start", cx: x(first[0]), cy: y(first[1]), r: 5 }),
      svg("circle", { class: "da-path-end", cx: x(last[0]), cy: y(last[1]), r: 5 }),
      ...dots,
    );
  });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `The path of the latents of ${names.join(" and ")}, along the two directions in which they vary most` }, ...runs, marks);
  const share = (value) => `${(100 * value).toFixed(1)}%`;
  const legend = names.length > 1 ? el("p", { class: "da-path-legend" }, ...names.map((name, run) => el("span", { class: run ? "da-second" : "da-first" }, name))) : null;
  const note = el(
    "p",
    { class: "da-caption" },
    `The latents after every step, along the two directions in which they vary most: ${share(path.axes[0])} and ${share(path.axes[1] ?? 0)} of the variance, on one scale. A path begins in gold, ${from ? "after the first step" : "at the noise"}, and ends in burgundy. Choose a state to go to its step.`,
  );
  const node = el("div", { class: "da-path-plot" }, drawing, legend, note);

  /** Mark a point of each run, by its place among the run's; null marks none. */
  function mark(steps) {
    marks.replaceChildren(
      ...steps.flatMap((step, run) => {
        const point = step === null ? null : path.coords[run][step];
        return point ? [svg("circle", { class: "da-path-mark", cx: x(point[0]), cy: y(point[1]), r: 8 })] : [];
      }),
    );
  }

  return { node, mark };
}
