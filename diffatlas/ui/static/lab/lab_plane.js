// The plane: points on their way from noise to data, and what can be laid over them.

import { createCanvas, drawPoints, toPixels } from "./lab_canvas.js";
import { contour, smooth } from "./lab_contours.js";

const LEVELS = [0.03, 0.12, 0.3, 0.6];
const CLOUD_CELLS = 48;
const REACH = 16; // px within which the start of a path is taken

/**
 * Create the plane. `palette` has the colours of classes. `onStart([x, y], done)` is told of the start of a path while
 * it is dragged, `onDraw([x, y], fresh)` of strokes while a target is drawn.
 */
export function createPlane({ palette, onStart, onDraw }) {
  const surface = createCanvas({ label: "The plane", tabindex: 0 });
  const { canvas } = surface;
  let shown = null; // {state, at, layers}
  let dragging = null;

  const extent = () => shown?.state.extent ?? 2.5;
  const at = (event) => {
    const area = canvas.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * 2 - 1;
    const y = 1 - ((event.clientY - area.top) / area.height) * 2;
    return [x, y].map((part) => Math.max(-1, Math.min(1, part)) * extent());
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!shown || event.button) return;
    const { state, layers } = shown;
    if (state.drawing) dragging = "draw";
    else if (layers.path && state.frames && !state.live) dragging = "start";
    else return;
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    if (dragging === "draw") onDraw(at(event), true);
    else onStart(at(event), false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (dragging === "draw") onDraw(at(event), false);
    else if (dragging === "start") onStart(at(event), false);
  });
  const drop = (event) => {
    if (dragging === "start") onStart(at(event), true);
    dragging = null;
  };
  canvas.addEventListener("pointerup", drop);
  canvas.addEventListener("pointercancel", () => (dragging = null));
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!by || !shown?.layers.path || !shown.state.path) return;
    event.preventDefault();
    event.stopPropagation();
    onStart(shown.state.path.start.map((part, k) => part + 0.1 * by[k]), true);
  });

  /** Draw `state` at frame `position`, a number between 0 and the last; `layers` says what is laid over the points. */
  function update(state, position, layers) {
    shown = { state, at: position, layers };
    canvas.classList.toggle("da-lab-drawing", Boolean(state.drawing));
    canvas.classList.toggle("da-lab-movable", Boolean(layers.path && state.frames));
    surface.draw(paint);
  }

  function paint(context, width, height, inks) {
    const { state, at: position, layers } = shown;
    const to = toPixels(width, height, state.extent);
    context.strokeStyle = inks.rule;
    context.lineWidth = 1;
    lines(context, [[-9, 0, 9, 0], [0, -9, 0, 9]].flat(), to);
    if (state.drawing) return paintDrawing(context, to, inks, state.drawing, palette);
    if (state.live) {
      drawPoints(context, state.live.points, to, (k) => palette[state.live.labels[k] % palette.length], 2.2);
      if (layers.cloud) paintCloud(context, state.live.points, state.extent, to, inks);
      return null;
    }
    const { frames } = state;
    if (!frames) return null;
    const { k, share } = between(position, frames.count);
    const points = mix(frames.points, frames.n, k, share);
    if (layers.exact && state.density) {
      const map = state.density.maps[share < 0.5 ? k : k + 1];
      context.strokeStyle = inks.gold;
      context.lineWidth = 1.4;
      for (const level of LEVELS) lines(context, contour(map, state.density.cells, level, state.extent), to);
    }
    if (layers.mesh && frames.mesh) paintMesh(context, mix(frames.mesh, frames.mesh.length / 2 / frames.count, k, share), to, inks);
    if (layers.points) {
      const { labels } = frames;
      const radius = frames.n > 2500 ? 1.3 : 2;
      drawPoints(context, points, to, labels ? (j) => palette[labels[j] % palette.length] : () => inks.ink, radius, layers.mesh || layers.path ? 0.4 : 0.75);
    }
    if (layers.cloud) paintCloud(context, points, state.extent, to, inks);
    if (layers.path && state.path) paintPaths(context, state.path, position, to, inks);
    return null;
  }

  return { node: surface.node, canvas, update };
}

function paintDrawing(context, to, inks, { points, labels }, palette) {
  drawPoints(context, points, to, (k) => palette[labels[k] % palette.length], 3, 0.7);
  if (points.length) return;
  context.fillStyle = inks.muted;
  context.font = "15px sans-serif";
  context.textAlign = "center";
  context.fillText("Draw here: every dot becomes part of the target.", to[0](0), to[1](0.15));
  context.textAlign = "left";
}

function paintCloud(context, points, extent, to, inks) {
  context.strokeStyle = inks.burgundy;
  context.lineWidth = 1.4;
  const map = smooth(points, CLOUD_CELLS, extent);
  for (const level of LEVELS) lines(context, contour(map, CLOUD_CELLS, level, extent), to);
}

function paintMesh(context, points, to, inks) {
  const side = Math.round(Math.sqrt(points.length / 2));
  const [px, py] = to;
  context.strokeStyle = inks.ink;
  context.lineWidth = 0.9;
  context.globalAlpha = 0.75;
  context.beginPath();
  for (const step of [1, side]) {
    for (let line = 0; line < side; line++) {
      for (let k = 0; k < side; k++) {
        const at = 2 * (step === 1 ? line * side + k : k * side + line);
        const [x, y] = [px(points[at]), py(points[at + 1])];
        if (k) context.lineTo(x, y);
        else context.moveTo(x, y);
      }
    }
  }
  context.stroke();
  context.globalAlpha = 1;
}

// The past of a path is solid and its future faint; a ring is where it starts.
function paintPaths(context, path, position, to, inks) {
  for (const [points, colour] of [[path.exact, inks.gold], [path.learned, inks.burgundy]]) {
    const count = points.length / 2;
    const { k, share } = between(position, count);
    const now = mix(points, 1, k, share);
    const past = [...points.subarray(0, 2 * (k + 1)), ...now];
    const future = [...now, ...points.subarray(2 * (k + 1))];
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 2.2;
    polyline(context, past, to);
    context.globalAlpha = 0.45;
    context.lineWidth = 1.4;
    context.setLineDash([4, 4]);
    polyline(context, future, to);
    context.setLineDash([]);
    context.globalAlpha = 1;
    disc(context, to[0](now[0]), to[1](now[1]), 5, true);
  }
  context.strokeStyle = inks.ink;
  context.lineWidth = 2;
  disc(context, to[0](path.start[0]), to[1](path.start[1]), REACH / 2, false);
}

function disc(context, x, y, radius, filled) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  if (filled) context.fill();
  else context.stroke();
}

function polyline(context, points, [px, py]) {
  context.beginPath();
  for (let k = 0; k < points.length; k += 2) {
    if (k) context.lineTo(px(points[k]), py(points[k + 1]));
    else context.moveTo(px(points[k]), py(points[k + 1]));
  }
  context.stroke();
}

function lines(context, segments, [px, py]) {
  context.beginPath();
  for (let k = 0; k < segments.length; k += 4) {
    context.moveTo(px(segments[k]), py(segments[k + 1]));
    context.lineTo(px(segments[k + 2]), py(segments[k + 3]));
  }
  context.stroke();
}

function between(position, count) {
  const k = Math.max(0, Math.min(count - 2, Math.floor(position)));
  return { k, share: Math.max(0, Math.min(1, position - k)) };
}

// Points between frame k and the next, in proportion.
function mix(frames, n, k, share) {
  const [a, b] = [frames.subarray(2 * n * k, 2 * n * (k + 1)), frames.subarray(2 * n * (k + 1), 2 * n * (k + 2))];
  if (share === 0 || !b.length) return a;
  return a.map((value, j) => value + share * (b[j] - value));
}
