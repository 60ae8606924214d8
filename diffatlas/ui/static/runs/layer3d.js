// One layer in space: its line, a dot for every state, a gold ball at the start, a burgundy one at the end.

/** What all layers share. */
export function createShared(THREE) {
  return {
    ball: new THREE.SphereGeometry(1, 16, 12),
    start: new THREE.MeshBasicMaterial(),
    end: new THREE.MeshBasicMaterial(),
    disc: disc(THREE),
  };
}

/** Create a layer's drawing in `parent`. Buffers are written in place while only positions change. */
export function createLayer3d(THREE, shared, parent) {
  const material = new THREE.LineMaterial({ linewidth: 3, vertexColors: true, worldUnits: false });
  const line = new THREE.Line2(new THREE.LineGeometry(), material);
  const dots = new THREE.Points(
    new THREE.BufferGeometry(),
    new THREE.PointsMaterial({ size: 7, sizeAttenuation: false, vertexColors: true, map: shared.disc, alphaTest: 0.4 }),
  );
  const start = new THREE.Mesh(shared.ball, shared.start);
  const end = new THREE.Mesh(shared.ball, shared.end);
  const all = [line, dots, start, end];
  for (const object of all) object.frustumCulled = false;
  parent.add(...all);
  let count = 0;
  let shade = 1;

  // `points` is flat, three numbers a point.
  function place(points) {
    const n = points.length / 3;
    if (n !== count) return build(points, n);
    if (n > 1) {
      const data = line.geometry.attributes.instanceStart.data;
      for (let s = 0; s < n - 1; s++) data.array.set(points.subarray(3 * s, 3 * s + 6), 6 * s);
      data.needsUpdate = true;
    }
    dots.geometry.attributes.position.array.set(points);
    dots.geometry.attributes.position.needsUpdate = true;
    if (material.dashed) measure(points);
    return ends(points, n);
  }

  function build(points, n) {
    count = n;
    line.geometry.dispose();
    line.geometry = new THREE.LineGeometry();
    if (n > 1) line.geometry.setPositions(points).setColors(new Float32Array(3 * n));
    dots.geometry.dispose();
    dots.geometry = new THREE.BufferGeometry();
    dots.geometry.setAttribute("position", new THREE.Float32BufferAttribute(new Float32Array(points), 3));
    dots.geometry.setAttribute("color", new THREE.Float32BufferAttribute(new Float32Array(3 * n), 3));
    if (material.dashed) measure(points);
    ends(points, n);
  }

  function ends(points, n) {
    line.visible = end.visible = n > 1;
    start.position.fromArray(points, 0);
    end.position.fromArray(points, 3 * (n - 1));
  }

  // Length along the line, which the dashes follow.
  function measure(points) {
    if (count < 2) return;
    if (!line.geometry.attributes.instanceDistanceStart) line.computeLineDistances();
    const data = line.geometry.attributes.instanceDistanceStart.data;
    let along = 0;
    for (let s = 0; s < count - 1; s++) {
      const i = 3 * s;
      data.array[2 * s] = along;
      along += Math.hypot(points[i + 3] - points[i], points[i + 4] - points[i + 1], points[i + 5] - points[i + 2]);
      data.array[2 * s + 1] = along;
    }
    data.needsUpdate = true;
  }

  return {
    place,
    /** `colours`: three linear values a point, as `gradient` and `plain` give them. */
    paint(colours, dashed, points) {
      if (material.dashed !== dashed) {
        material.dashed = dashed;
        material.needsUpdate = true;
        if (dashed) measure(points);
      }
      dots.geometry.attributes.color.array.set(colours);
      dots.geometry.attributes.color.needsUpdate = true;
      if (count < 2) return;
      const data = line.geometry.attributes.instanceColorStart.data;
      for (let s = 0; s < count - 1; s++) data.array.set(colours.subarray(3 * s, 3 * s + 6), 6 * s);
      data.needsUpdate = true;
    },
    /** Sizes that follow the view: `radius` of what is framed, in data units; thinner where there are `many` layers. */
    frame(radius, many) {
      const ball = (many > 6 ? 0.018 : 0.025) * radius;
      start.scale.setScalar(ball * shade);
      end.scale.setScalar(ball * shade);
      material.linewidth = many > 6 ? 2 : many > 1 ? 2.5 : 3;
      // Small enough on a dashed line that the dashes are seen.
      dots.material.size = material.dashed ? 3.5 : many > 1 ? 5 : 7;
      material.dashSize = 0.028 * radius;
      material.gapSize = 0.02 * radius;
    },
    /** 0 to 1, while the layer appears. */
    shade(value) {
      shade = value;
      for (const one of [material, dots.material]) {
        one.opacity = value;
        one.transparent = value < 1;
      }
    },
    dispose() {
      parent.remove(...all);
      for (const object of [line, dots]) {
        object.geometry.dispose();
        object.material.dispose();
      }
    },
  };
}

/** Colours of n points from one end's colour to the other's, of `total` points that the whole path will have. */
export function gradient(THREE, n, total, from, to) {
  const [a, b] = [new THREE.Color(from), new THREE.Color(to)];
  const out = new Float32Array(3 * n);
  for (let i = 0; i < n; i++) a.clone().lerp(b, i / Math.max(1, total - 1)).toArray(out, 3 * i);
  return out;
}

/** The same colour for n points. */
export function plain(THREE, n, colour) {
  const one = new THREE.Color(colour);
  const out = new Float32Array(3 * n);
  for (let i = 0; i < n; i++) one.toArray(out, 3 * i);
  return out;
}

function disc(THREE) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.arc(16, 16, 14, 0, 2 * Math.PI);
  pen.fill();
  return new THREE.CanvasTexture(canvas);
}
