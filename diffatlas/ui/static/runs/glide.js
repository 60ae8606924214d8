// From one set of coordinates to the next: a turn for what a rotation explains, a straight way for the rest.

import { bestRotation, centroid, partial, rotate } from "./rotation.js";

/**
 * Prepare the way from `from` to `to`, both Maps of id to n points (flat, three numbers each).
 * The rotation is found over the points of the layers that are in both. Points that a path has gained start
 * where it ended; layers that are new turn with the others. With `rescale`, `from` is first brought to the size
 * of `to`: the units differ.
 * Returns {shared, scale, at(t)}: at(t) is a Map like `to`, whose arrays are reused from call to call.
 */
export function createGlide(from, to, rescale = false) {
  const before = [];
  const after = [];
  for (const [id, points] of to) {
    const old = from.get(id);
    if (!old) continue;
    const n = Math.min(old.length, points.length);
    before.push(...old.subarray(0, n));
    after.push(...points.subarray(0, n));
  }
  const n = before.length / 3;
  const [cf, ct] = n ? [centroid(before, n), centroid(after, n)] : [[0, 0, 0], [0, 0, 0]];
  const scale = rescale && n > 1 ? spread(after, ct) / spread(before, cf) || 1 : 1;
  const turn = n > 2 ? bestRotation(before, after, n) : [1, 0, 0, 0];
  const back = [turn[0], -turn[1], -turn[2], -turn[3]];
  const start = cf.map((value) => value * scale);

  // Each layer: where its points are about the first centre, and what the rotation leaves over.
  const ways = [...to].map(([id, points]) => {
    const old = from.get(id);
    const a = new Float64Array(points.length);
    const rest = new Float64Array(points.length);
    for (let i = 0; i < points.length; i += 3) {
      const goal = [points[i] - ct[0], points[i + 1] - ct[1], points[i + 2] - ct[2]];
      const at = old && Math.min(i, old.length - 3);
      const begin = old ? [0, 1, 2].map((k) => (old[at + k] - cf[k]) * scale) : rotate(back, goal);
      const turned = rotate(turn, begin);
      for (let k = 0; k < 3; k++) {
        a[i + k] = begin[k];
        rest[i + k] = goal[k] - turned[k];
      }
    }
    return { id, points, a, rest, out: new Float32Array(points.length) };
  });

  return {
    shared: n,
    scale,
    at(t) {
      if (t >= 1) return to;
      const q = partial(turn, t);
      const centre = start.map((value, k) => value + t * (ct[k] - value));
      const now = new Map();
      for (const { id, a, rest, out } of ways) {
        for (let i = 0; i < a.length; i += 3) {
          const p = rotate(q, [a[i], a[i + 1], a[i + 2]]);
          for (let k = 0; k < 3; k++) out[i + k] = p[k] + t * rest[i + k] + centre[k];
        }
        now.set(id, out);
      }
      return now;
    },
  };
}

/** Least and greatest coordinates of a Map of points: {low, high}. */
export function extent(layers) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (const points of layers.values()) {
    for (let i = 0; i < points.length; i++) {
      const axis = i % 3;
      if (points[i] < low[axis]) low[axis] = points[i];
      if (points[i] > high[axis]) high[axis] = points[i];
    }
  }
  return { low, high };
}

function spread(points, centre) {
  let sum = 0;
  for (let i = 0; i < points.length; i++) sum += (points[i] - centre[i % 3]) ** 2;
  return Math.sqrt(sum);
}
