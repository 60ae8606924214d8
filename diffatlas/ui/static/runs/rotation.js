// The rotation that best carries one set of points onto another (Horn 1987, closed form by unit quaternions),
// so that a change of frame is shown as a turn and not as points sliding through each other.

/**
 * Unit quaternion [w, x, y, z] of the proper rotation that minimises sum |R a_i - b_i|^2, both sets centred.
 * `a` and `b` are flat arrays of n points.
 */
export function bestRotation(a, b, n) {
  const [ca, cb] = [centroid(a, n), centroid(b, n)];
  const S = new Float64Array(9);
  for (let i = 0; i < n; i++) {
    for (let r = 0; r < 3; r++) {
      for (let c = 0; c < 3; c++) S[3 * r + c] += (a[3 * i + r] - ca[r]) * (b[3 * i + c] - cb[c]);
    }
  }
  const [xx, xy, xz, yx, yy, yz, zx, zy, zz] = S;
  const N = [
    [xx + yy + zz, yz - zy, zx - xz, xy - yx],
    [yz - zy, xx - yy - zz, xy + yx, zx + xz],
    [zx - xz, xy + yx, -xx + yy - zz, yz + zy],
    [xy - yx, zx + xz, yz + zy, -xx - yy + zz],
  ];
  // Power iteration for the largest eigenvalue; the shift makes it the one of largest magnitude.
  const shift = Math.max(...N.map((row) => row.reduce((sum, value) => sum + Math.abs(value), 0)));
  if (!(shift > 0)) return [1, 0, 0, 0];
  let q = [1, 0.01, 0.02, 0.03];
  for (let k = 0; k < 200; k++) {
    const next = N.map((row, r) => shift * q[r] + row.reduce((sum, value, c) => sum + value * q[c], 0));
    const size = Math.hypot(...next);
    q = next.map((value) => value / size);
  }
  return q[0] < 0 ? q.map((value) => -value) : q;
}

/** The rotation `t` of the way (0 to 1) from none to `q`. */
export function partial(q, t) {
  const half = Math.acos(Math.min(1, q[0]));
  if (half < 1e-6) return [1, 0, 0, 0];
  const k = Math.sin(half * t) / Math.sin(half);
  return [Math.cos(half * t), k * q[1], k * q[2], k * q[3]];
}

/** Rotate point `p` ([x, y, z]) by the unit quaternion `q`. */
export function rotate([w, x, y, z], [px, py, pz]) {
  const [tx, ty, tz] = [2 * (y * pz - z * py), 2 * (z * px - x * pz), 2 * (x * py - y * px)];
  return [px + w * tx + y * tz - z * ty, py + w * ty + z * tx - x * tz, pz + w * tz + x * ty - y * tx];
}

/** Mean of n points. */
export function centroid(points, n) {
  const mean = [0, 0, 0];
  for (let i = 0; i < 3 * n; i++) mean[i % 3] += points[i] / n;
  return mean;
}
