// Lines of equal height through a grid of values, and a smooth density of points.

/**
 * Segments [x0, y0, x1, y1, …] of the line at `level` through `values` (cells x cells, rows from the lowest y, over
 * [-extent, extent] both ways): marching squares, a saddle decided by its middle.
 */
export function contour(values, cells, level, extent) {
  const out = [];
  const step = (2 * extent) / (cells - 1);
  const at = (i, j) => values[j * cells + i];
  for (let j = 0; j < cells - 1; j++) {
    for (let i = 0; i < cells - 1; i++) {
      const corners = [at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)];
      let code = 0;
      corners.forEach((value, k) => (code |= (value > level) << k));
      if (code === 0 || code === 15) continue;
      const x = -extent + i * step;
      const y = -extent + j * step;
      const share = (a, b) => (level - a) / (b - a);
      const edges = [
        () => [x + step * share(corners[0], corners[1]), y],
        () => [x + step, y + step * share(corners[1], corners[2])],
        () => [x + step * share(corners[3], corners[2]), y + step],
        () => [x, y + step * share(corners[0], corners[3])],
      ];
      const high = corners.reduce((sum, value) => sum + value, 0) / 4 > level;
      for (const [a, b] of segments(code, high)) out.push(...edges[a](), ...edges[b]());
    }
  }
  return out;
}

function segments(code, high) {
  switch (code) {
    case 1:
    case 14:
      return [[3, 0]];
    case 2:
    case 13:
      return [[0, 1]];
    case 3:
    case 12:
      return [[3, 1]];
    case 4:
    case 11:
      return [[1, 2]];
    case 6:
    case 9:
      return [[0, 2]];
    case 7:
    case 8:
      return [[3, 2]];
    case 5:
      return high ? [[3, 2], [0, 1]] : [[3, 0], [1, 2]];
    default:
      return high ? [[3, 0], [1, 2]] : [[3, 2], [0, 1]];
  }
}

/** A kernel density of `points` on cells x cells, its largest value 1; `bandwidth` in the plane's units. */
export function smooth(points, cells, extent, bandwidth = 0.14) {
  const grid = new Float32Array(cells * cells);
  const scale = (cells - 1) / (2 * extent);
  for (let k = 0; k < points.length; k += 2) {
    const i = Math.round((points[k] + extent) * scale);
    const j = Math.round((points[k + 1] + extent) * scale);
    if (i >= 0 && j >= 0 && i < cells && j < cells) grid[j * cells + i] += 1;
  }
  const reach = Math.ceil(3 * bandwidth * scale);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-0.5 * ((k - reach) / (bandwidth * scale)) ** 2));
  const blur = (from, across) => {
    const to = new Float32Array(from.length);
    for (let j = 0; j < cells; j++) {
      for (let i = 0; i < cells; i++) {
        let sum = 0;
        for (let k = -reach; k <= reach; k++) {
          const [p, q] = across ? [i + k, j] : [i, j + k];
          if (p >= 0 && q >= 0 && p < cells && q < cells) sum += weights[k + reach] * from[q * cells + p];
        }
        to[j * cells + i] = sum;
      }
    }
    return to;
  };
  const out = blur(blur(grid, true), false);
  const most = out.reduce((a, b) => Math.max(a, b), 1e-12);
  return out.map((value) => value / most);
}
