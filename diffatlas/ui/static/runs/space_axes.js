// The box of principal components: a floor in squares of one unit, three axes from one corner.

import { extent } from "./glide.js";
import { niceStep } from "../core/format.js";

/** Create the axes in `group`. `fit` places them around the layers; `box` is null while there are none. */
export function createSpaceAxes(THREE, group) {
  const grid = new THREE.LineSegments(
    new THREE.BufferGeometry(),
    new THREE.LineBasicMaterial({ transparent: true, opacity: 0.55 }),
  );
  const lines = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial());
  group.add(grid, lines);
  const axes = { box: null };

  /** `least` is a length below which the box does not shrink, in data units. Returns whether it changed. */
  axes.fit = (layers, least) => {
    const box = boxAround(layers, least);
    grid.visible = lines.visible = true;
    if (axes.box && same(box, axes.box)) return false;
    axes.box = box;
    setSegments(THREE, grid, floorLines(box));
    setSegments(THREE, lines, axisLines(box));
    return true;
  };

  axes.hide = () => {
    axes.box = null;
    grid.visible = lines.visible = false;
  };

  axes.colour = ({ muted, rule }) => {
    grid.material.color.set(rule);
    lines.material.color.set(muted);
  };

  /** The names at the ends of the axes, with their share of the variance where it is known. */
  axes.labels = (ratio) => {
    if (!axes.box) return [];
    const { low, high, step } = axes.box;
    return [0, 1, 2].map((axis) => ({
      at: low.map((value, a) => (a === axis ? high[axis] + 0.45 * step : value)),
      text: `PC${axis + 1}${ratio ? ` ${percent(ratio[axis])}` : ""}`,
      kind: "axis",
    }));
  };

  return axes;
}

/** The box of whole squares around a Map of points: {low, high, step}, in data units. */
export function boxAround(layers, least) {
  const { low, high } = extent(layers);
  const span = Math.max(...high.map((value, axis) => value - low[axis]), least, 1e-9);
  const step = niceStep(span / 6);
  return {
    low: low.map((value) => Math.floor(value / step) * step),
    high: high.map((value, axis) => Math.max(Math.ceil(value / step), Math.floor(low[axis] / step) + 1) * step),
    step,
  };
}

function same(a, b) {
  return a.step === b.step && [0, 1, 2].every((k) => a.low[k] === b.low[k] && a.high[k] === b.high[k]);
}

function setSegments(THREE, object, positions) {
  object.geometry.dispose();
  object.geometry = new THREE.BufferGeometry();
  object.geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  object.frustumCulled = false;
}

// The floor of the box (PC1 by PC3), in squares of one grid step.
function floorLines({ low, high, step }) {
  const out = [];
  for (let x = low[0]; x <= high[0] + step / 2; x += step) out.push(x, low[1], low[2], x, low[1], high[2]);
  for (let z = low[2]; z <= high[2] + step / 2; z += step) out.push(low[0], low[1], z, high[0], low[1], z);
  return out;
}

function axisLines({ low, high }) {
  return [0, 1, 2].flatMap((axis) => [...low, ...low.map((value, a) => (a === axis ? high[axis] : value))]);
}

function percent(ratio) {
  return `${(100 * ratio).toFixed(ratio >= 0.1 ? 0 : 1)}%`;
}
