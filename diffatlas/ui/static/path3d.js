// The path through latent space in three dimensions: gold at the start, burgundy at the end.
// All axes share one scale, so distances on screen are distances in the data.

import { reducedMotion } from "./dom.js";
import { niceStep, short } from "./format.js";
import { bestRotation, centroid, partial, rotate } from "./rotation.js";
import { createLabels, createStage } from "./stage3d.js";

const GLIDE = 250; // ms from one set of coordinates to the next
const TURN = 1200; // ms for the turn into the final axes
const BILLBOARD = 0.3; // side, where the radius of what is framed is 1
const REACH = 16; // px within which a click finds a point

/** Create the viewer in `root`. `onSelect(index)` is called with a step's index. */
export async function createPath(root, { onSelect }) {
  const THREE = await import("./vendor/three.bundle.js");
  const stage = createStage(THREE, root);
  const labels = createLabels(root);
  const { scene, camera, group } = stage;

  const line = new THREE.Line2(
    new THREE.LineGeometry(),
    new THREE.LineMaterial({ linewidth: 3, vertexColors: true, worldUnits: false }),
  );
  line.frustumCulled = false;
  const dots = new THREE.Points(
    new THREE.BufferGeometry(),
    new THREE.PointsMaterial({ size: 7, sizeAttenuation: false, vertexColors: true, map: disc(THREE), alphaTest: 0.4 }),
  );
  dots.frustumCulled = false;
  const grid = new THREE.LineSegments(
    new THREE.BufferGeometry(),
    new THREE.LineBasicMaterial({ transparent: true, opacity: 0.55 }),
  );
  const axes = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial());
  const ball = new THREE.SphereGeometry(1, 20, 14);
  const start = new THREE.Mesh(ball, new THREE.MeshBasicMaterial());
  const end = new THREE.Mesh(ball, new THREE.MeshBasicMaterial());
  const ring = createRing(THREE);
  group.add(grid, axes, line, dots, start, end);
  scene.add(ring);
  const billboards = new Map();

  let view = null;
  let runId;
  let shown = new Float32Array(0); // where the points are drawn now, data units
  let glide = null; // {from, to, quaternion, began, lasts}
  let selected = null;
  let box = null; // {low, high, step}: the axes, in data units
  let focus = null; // {centre, radius}: what the camera frames, eased

  function reset() {
    for (const sprite of billboards.values()) drop(sprite);
    billboards.clear();
    shown = new Float32Array(0);
    glide = box = focus = selected = null;
    group.visible = false;
    stage.home();
  }

  function drop(sprite) {
    scene.remove(sprite);
    sprite.material.map?.dispose();
    sprite.material.dispose();
  }

  function update(next) {
    const id = next.run ? next.run.id : null;
    if (id !== runId) {
      runId = id;
      reset();
    }
    const finishing = next.axes && !(view && view.run && view.run.id === id && view.axes);
    const moved = !view || view.points !== next.points || finishing;
    view = next;
    if (!next.points) {
      labels.clear();
      return stage.draw();
    }
    if (moved) {
      const to = decode(next.points);
      const from = extended(shown, to);
      const still = reducedMotion() || shown.length === 0;
      const n = Math.min(shown.length, to.length) / 3;
      glide = {
        from,
        to,
        n: to.length / 3,
        quaternion: n > 2 ? bestRotation(from, to, n) : [1, 0, 0, 0],
        began: performance.now(),
        lasts: still ? 0 : finishing ? TURN : GLIDE,
      };
    }
    addBillboards();
    stage.animate(tick);
    return undefined;
  }

  // One frame of animation; returns whether there is more to come.
  function tick(now, elapsed) {
    let more = false;
    if (glide) {
      const t = glide.lasts ? Math.min(1, (now - glide.began) / glide.lasts) : 1;
      shown = between(glide, t * t * (3 - 2 * t));
      place();
      if (t < 1) more = true;
      else glide = null;
    }
    if (refocus(elapsed)) more = true;
    return more;
  }

  function place() {
    const n = shown.length / 3;
    if (!n) return;
    group.visible = true;
    const colours = gradient(n, (view.run.total_steps || n - 1) + 1, stage.palette);
    if (n > 1) {
      line.geometry.dispose();
      line.geometry = new THREE.LineGeometry();
      line.geometry.setPositions(shown);
      line.geometry.setColors(colours);
    }
    line.visible = n > 1;
    dots.geometry.dispose();
    dots.geometry = new THREE.BufferGeometry();
    dots.geometry.setAttribute("position", new THREE.Float32BufferAttribute(shown, 3));
    dots.geometry.setAttribute("color", new THREE.Float32BufferAttribute(colours, 3));
    start.position.fromArray(shown, 0);
    end.position.fromArray(shown, 3 * (n - 1));
    end.visible = n > 1;
    placeAxes();
  }

  function placeAxes() {
    const { low, high } = extent(shown);
    const span = Math.max(...high.map((value, axis) => value - low[axis]), view.run.scale * 0.5);
    const step = niceStep(span / 6);
    const bounds = {
      low: low.map((value) => Math.floor(value / step) * step),
      high: high.map((value, axis) => Math.max(Math.ceil(value / step), Math.floor(low[axis] / step) + 1) * step),
      step,
    };
    if (box && JSON.stringify(box) === JSON.stringify(bounds)) return;
    box = bounds;
    setSegments(THREE, grid, floorLines(box));
    setSegments(THREE, axes, axisLines(box));
    root.dataset.gridStep = short(box.step);
  }

  // Ease the view towards what should be framed. While the path grows, the frame is never smaller than a
  // size known from the start (from the norm of x_T), so the scale never jumps.
  function refocus(elapsed) {
    if (!shown.length) return false;
    const target = framing();
    if (!focus) focus = target;
    const pull = reducedMotion() ? 1 : 1 - Math.exp(-elapsed / 220);
    focus = {
      centre: focus.centre.map((value, axis) => value + pull * (target.centre[axis] - value)),
      radius: focus.radius + pull * (target.radius - focus.radius),
    };
    const k = 1 / focus.radius;
    group.scale.setScalar(k);
    group.position.set(...focus.centre.map((value) => -value * k));
    for (const mesh of [start, end]) mesh.scale.setScalar(0.026 * focus.radius);
    placeBillboards();
    const off = Math.hypot(...target.centre.map((value, axis) => value - focus.centre[axis]));
    return off + Math.abs(target.radius - focus.radius) > 0.002 * target.radius;
  }

  function framing() {
    const points = glide ? glide.to : shown;
    const { low, high } = extent(points);
    const centre = low.map((value, axis) => (value + high[axis]) / 2);
    // A little more than the path itself: the pictures stand above it.
    const half = (1.12 * Math.hypot(...high.map((value, axis) => value - low[axis]))) / 2;
    const over = view.status !== "running";
    return { centre, radius: over ? Math.max(half, 1e-6) : Math.max(half, 0.3 * view.run.scale) };
  }

  // A billboard for every Nth step, fewer where the path is too dense for them to be told apart.
  function addBillboards() {
    const points = glide ? glide.to : shown;
    const at = (step) => [0, 1, 2].map((axis) => points[3 * (step.index + 1) + axis]);
    const gap = (a, b) => Math.hypot(...at(a).map((value, axis) => value - at(b)[axis]));
    const every = Math.max(1, Math.ceil((view.run.total_steps || view.steps.length) / 12));
    const room = 1.1 * BILLBOARD * framing().radius;
    const pictured = view.steps.filter((step) => step.preview);
    const last = view.status === "running" ? null : pictured.at(-1);
    const kept = [];
    for (const step of pictured) {
      if (step.index % every === 0 && (!kept.length || gap(step, kept.at(-1)) >= room)) kept.push(step);
    }
    if (last) {
      while (kept.length && gap(last, kept.at(-1)) < room) kept.pop();
      kept.push(last);
    }
    const wanted = new Set(kept.map((step) => step.index));
    for (const [index, sprite] of billboards) {
      if (wanted.has(index)) continue;
      drop(sprite);
      billboards.delete(index);
    }
    for (const index of wanted) {
      if (billboards.has(index)) continue;
      const sprite = billboard(THREE, view.steps[index].preview, () => stage.draw());
      sprite.userData.index = index;
      billboards.set(index, sprite);
      scene.add(sprite);
    }
  }

  function placeBillboards() {
    group.updateMatrixWorld();
    const n = shown.length / 3;
    for (const [index, sprite] of billboards) {
      const at = Math.min(index + 1, n - 1);
      sprite.position.fromArray(shown, 3 * at).applyMatrix4(group.matrixWorld);
    }
    ring.visible = selected !== null && selected + 1 < n;
    if (ring.visible) ring.position.fromArray(shown, 3 * (selected + 1)).applyMatrix4(group.matrixWorld);
  }

  function select(index) {
    selected = index;
    placeBillboards();
    stage.draw();
  }

  stage.onPaint = () => {
    if (!box || !shown.length) return labels.clear();
    const { low, high, step } = box;
    const along = (axis) => low.map((value, a) => (a === axis ? high[axis] + 0.45 * step : value));
    const ratio = view.axes;
    const n = shown.length / 3;
    const points = [
      ...[0, 1, 2].map((axis) => ({
        at: along(axis),
        text: `PC${axis + 1}${ratio ? ` ${percent(ratio[axis])}` : ""}`,
        kind: "axis",
      })),
      { at: [...shown.slice(0, 3)], text: "noise", kind: "start" },
    ];
    if (n > 1) {
      const done = view.status === "complete";
      points.push({ at: [...shown.slice(-3)], text: done ? "image" : `step ${n - 1}`, kind: "end" });
    }
    return labels.set(points, (at) => stage.project(group.localToWorld(new THREE.Vector3(...at))));
  };

  stage.onTheme = () => {
    const { ink, rule, gold, burgundy } = stage.palette;
    grid.material.color.set(rule);
    axes.material.color.set(ink);
    start.material.color.set(gold);
    end.material.color.set(burgundy);
    ring.material.color.set(ink);
    if (shown.length) place();
    stage.draw();
  };

  stage.onClick = (x, y) => {
    const hit = stage.pick([...billboards.values()], x, y);
    if (hit) return onSelect(hit.userData.index);
    let best = null;
    for (let i = 1; i < shown.length / 3; i++) {
      const spot = stage.project(group.localToWorld(new THREE.Vector3().fromArray(shown, 3 * i)));
      const away = Math.hypot(spot.x - x, spot.y - y);
      if (away < REACH && (!best || away < best.away)) best = { index: i - 1, away };
    }
    return best && onSelect(best.index);
  };

  stage.onResize = (width, height) => line.material.resolution.set(width, height);
  stage.begin();
  group.visible = ring.visible = false;
  return { update, select, home: () => (stage.home(), stage.draw()) };
}

function billboard(THREE, source, ready) {
  const material = new THREE.SpriteMaterial({ transparent: true, depthTest: false, opacity: 0 });
  const sprite = new THREE.Sprite(material);
  sprite.center.set(0.5, -0.22); // it stands above its point
  sprite.scale.setScalar(BILLBOARD);
  sprite.renderOrder = 2;
  const picture = new Image();
  picture.onload = () => {
    const size = 128;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d");
    const shrink = (size - 6) / Math.max(picture.width, picture.height);
    const [w, h] = [picture.width * shrink, picture.height * shrink];
    pen.fillStyle = "#191512";
    pen.fillRect((size - w) / 2 - 3, (size - h) / 2 - 3, w + 6, h + 6);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, (size - w) / 2, (size - h) / 2, w, h);
    const texture = new THREE.CanvasTexture(canvas);
    texture.colorSpace = THREE.SRGBColorSpace;
    material.map = texture;
    material.opacity = 1;
    material.needsUpdate = true;
    ready();
  };
  picture.src = source;
  return sprite;
}

function createRing(THREE) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const pen = canvas.getContext("2d");
  pen.strokeStyle = "#fff";
  pen.lineWidth = 7;
  pen.arc(32, 32, 26, 0, 2 * Math.PI);
  pen.stroke();
  const map = new THREE.CanvasTexture(canvas);
  const ring = new THREE.Sprite(new THREE.SpriteMaterial({ map, depthTest: false, sizeAttenuation: false }));
  ring.scale.setScalar(0.032);
  ring.renderOrder = 3;
  return ring;
}

function disc(THREE) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.arc(16, 16, 15, 0, 2 * Math.PI);
  pen.fill();
  return new THREE.CanvasTexture(canvas);
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

function extent(points) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < points.length; i++) {
    low[i % 3] = Math.min(low[i % 3], points[i]);
    high[i % 3] = Math.max(high[i % 3], points[i]);
  }
  return { low, high };
}

// `from` with as many points as `to`: new points start where the path ended.
function extended(from, to) {
  const out = new Float32Array(to.length);
  out.set(from.length ? from.subarray(0, Math.min(from.length, to.length)) : to);
  for (let i = from.length; from.length && i < to.length; i++) out[i] = from[from.length - 3 + (i % 3)];
  return out;
}

function between({ from, to, n, quaternion }, t) {
  if (t >= 1) return to;
  const [cf, ct] = [centroid(from, n), centroid(to, n)];
  const turn = partial(quaternion, t);
  const out = new Float32Array(3 * n);
  for (let i = 0; i < n; i++) {
    const a = [0, 1, 2].map((k) => from[3 * i + k] - cf[k]);
    const whole = rotate(quaternion, a);
    // What the rotation does not explain is added along the way, in the frame as turned so far.
    const rest = [0, 1, 2].map((k) => to[3 * i + k] - ct[k] - whole[k]);
    const p = rotate(turn, a);
    for (let k = 0; k < 3; k++) out[3 * i + k] = p[k] + t * rest[k] + (1 - t) * cf[k] + t * ct[k];
  }
  return out;
}

function gradient(n, total, { gold, burgundy }) {
  const channels = (hex) => [1, 3, 5].map((at) => (parseInt(hex.slice(at, at + 2), 16) / 255) ** 2.2);
  const [a, b] = [channels(gold), channels(burgundy)];
  const out = [];
  for (let i = 0; i < n; i++) {
    const t = i / Math.max(1, total - 1);
    out.push(...a.map((value, k) => value + t * (b[k] - value)));
  }
  return out;
}

function decode(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function percent(ratio) {
  return `${(100 * ratio).toFixed(ratio >= 0.1 ? 0 : 1)}%`;
}
