// What stands on the stage of the 3D view: the layers' paths, their thumbnails, the axes and the words beside them.
// All axes share one scale, so distances on screen are distances in the data.

import { createBillboards } from "./billboards.js";
import { el, reducedMotion } from "../core/dom.js";
import { short, shortened } from "../core/format.js";
import { createGlide, extent } from "./glide.js";
import { createLabels, swatch } from "../figures/labels3d.js";
import { createLayer3d, createShared, gradient, plain } from "./layer3d.js";
import { boxAround, createSpaceAxes } from "./space_axes.js";
import { createStage } from "./stage3d.js";

const STEP = 250; // ms for a step of the run in progress
const QUICK = 1500; // ms: steps that come sooner after each other are shown without moving there, each in one drawing
const MOVE = 600; // ms from one projection to the next
const TURN = 1200; // ms for the turn into the final axes
const NAMED = [-45, -30, -15, 0, 15, 30, 45]; // px from the end of a path along its name
const REACH = 16; // px within which a pointer finds a point

/** Create the drawing in `root`. `onUnit(text or null)` is told the side of a square of the floor. */
export function createSpace(THREE, root, { onSelect, onUnit }) {
  const stage = createStage(THREE, root);
  const labels = createLabels(root);
  const { scene, group } = stage;
  const axes = createSpaceAxes(THREE, group);
  const shared = createShared(THREE);
  const thumbnails = createBillboards(THREE, scene, stage.draw);
  const ring = createRing(THREE);
  scene.add(ring);
  const pointed = el("div", { class: "da-hover", hidden: "" });
  root.append(pointed);

  const drawn = new Map(); // id -> {object, painted, began}
  const spot = new THREE.Vector3();
  let source = null; // as space_source.js chose it
  let byId = new Map();
  let shown = new Map(); // where the points are drawn now, data units
  let glide = null; // {way, began, lasts}
  let frame = null; // {centre, radius}: what should be framed
  let focus = null; // the same, eased towards it
  let selected = null;
  let grown = 0; // when the run in progress last came further

  function clear() {
    for (const { object } of drawn.values()) object.dispose();
    drawn.clear();
    thumbnails.clear();
    axes.hide();
    labels.clear();
    leave();
    shown = new Map();
    glide = frame = focus = null;
    group.visible = ring.visible = false;
    onUnit(null);
  }

  /** Draw `next` (see space_source.js); `still` without moving there. */
  function show(next, options) {
    const before = source;
    source = next;
    selected = options.selected;
    byId = new Map(next.layers.map((layer) => [layer.id, layer]));
    if (!next.coords.size) {
      if (drawn.size) clear();
      return stage.draw();
    }
    const known = [...drawn.keys()];
    for (const id of known) {
      if (next.coords.has(id)) continue;
      drawn.get(id).object.dispose();
      drawn.delete(id);
    }
    const moved = !before || before.view !== next.view || !sameCoords(before.coords, next.coords);
    if (moved) begin(before, options.still);
    else if (before.kind !== next.kind) frame = framing();
    for (const id of shown.keys()) if (drawn.has(id)) paint(id);
    arrange(options.every);
    stage.canvas.setAttribute("aria-label", described(next));
    return stage.animate(tick);
  }

  function begin(before, still) {
    const from = new Map([...shown].filter(([id]) => source.coords.has(id)));
    const otherUnits = before !== null && before.view !== source.view;
    const way = createGlide(from, source.coords, otherUnits);
    frame = framing();
    if (!way.shared) focus = null;
    else if (otherUnits && focus) {
      focus = { centre: focus.centre.map((value) => value * way.scale), radius: focus.radius * way.scale };
    }
    const grows = before?.kind === "live" && source.kind === "live";
    const lasts = grows ? STEP : before?.kind === "live" ? TURN : MOVE;
    const now = performance.now();
    const quick = grows && now - grown < QUICK;
    if (grows) grown = now;
    const jump = still || quick || reducedMotion() || !way.shared;
    glide = { way, began: now, lasts: jump ? 0 : lasts };
    for (const id of source.coords.keys()) {
      if (drawn.has(id)) continue;
      const object = createLayer3d(THREE, shared, group);
      drawn.set(id, { object, painted: "", began: jump ? -Infinity : now });
    }
  }

  // One frame of animation; returns whether there is more to come.
  function tick(now, elapsed) {
    let more = false;
    if (glide) {
      const t = glide.lasts ? Math.min(1, Math.max(0, (now - glide.began) / glide.lasts)) : 1;
      shown = glide.way.at(t * t * (3 - 2 * t));
      place();
      if (t < 1) more = true;
      else glide = null;
    }
    for (const one of drawn.values()) {
      if (one.began === null) continue;
      const t = Math.min(1, Math.max(0, (now - one.began) / MOVE));
      one.object.shade(t);
      if (t < 1) more = true;
      else one.began = null;
    }
    return refocus(elapsed) || more;
  }

  function place() {
    group.visible = true;
    for (const [id, points] of shown) {
      drawn.get(id).object.place(points);
      paint(id);
    }
    if (source.view === "pca") {
      if (axes.fit(shown, 0.5 * leastScale())) onUnit(short(axes.box.step));
    } else if (axes.box) {
      axes.hide();
      onUnit(null);
    }
  }

  // One layer alone runs from gold to burgundy; several have their own colours.
  function paint(id) {
    const one = drawn.get(id);
    const layer = byId.get(id);
    const n = shown.get(id).length / 3;
    const { gold, burgundy } = stage.palette;
    const total = (layer.data.run?.total_steps || n - 1) + 1;
    const colour = resolved(layer.colour);
    const key = [n, source.several ? colour : [gold, burgundy, total], layer.locked].join();
    if (key === one.painted) return;
    one.painted = key;
    const colours = source.several ? plain(THREE, n, colour) : gradient(THREE, n, total, gold, burgundy);
    one.object.paint(colours, source.several && !layer.locked, shown.get(id));
  }

  function resolved(colour) {
    const name = /^var\(--da-(\w+)\)$/.exec(colour ?? "")?.[1];
    return name ? stage.palette[name] : (colour ?? stage.palette.ink);
  }

  function leastScale() {
    return Math.min(...source.layers.map((layer) => layer.data.run?.scale ?? 0));
  }

  // The view turns about the second axis, so the paths need the room of a cylinder about it, and some above for the
  // pictures. While a path grows, the frame is never smaller than a size known from the start (from the norm of
  // x_T), so the scale never jumps.
  function framing() {
    const { low, high } = source.view === "pca" ? boxAround(source.coords, 0.5 * leastScale()) : extent(source.coords);
    const centre = low.map((value, axis) => (value + high[axis]) / 2);
    const half = high.map((value, axis) => (value - low[axis]) / 2);
    const around = Math.hypot(half[0], half[2]);
    const wide = Math.min(1.4, Math.max(1, root.clientWidth / root.clientHeight));
    const margin = source.view === "pca" ? 1.02 : 1.15; // a box has a margin of its own
    const radius = margin * Math.max(around / wide, (half[1] + 0.25 * around) / 0.9);
    return { centre, radius: Math.max(radius, source.kind === "live" ? 0.3 * leastScale() : 1e-6) };
  }

  // Ease the view towards what should be framed.
  function refocus(elapsed) {
    if (!shown.size) return false;
    focus ??= frame;
    const quick = source.kind === "live" && performance.now() - grown < QUICK && !glide;
    const pull = reducedMotion() || quick ? 1 : 1 - Math.exp(-elapsed / 220);
    focus = {
      centre: focus.centre.map((value, axis) => value + pull * (frame.centre[axis] - value)),
      radius: focus.radius + pull * (frame.radius - focus.radius),
    };
    const k = 1 / focus.radius;
    group.scale.setScalar(k);
    group.position.set(...focus.centre.map((value) => -value * k));
    group.updateMatrixWorld();
    for (const { object } of drawn.values()) object.frame(focus.radius, source.layers.length);
    thumbnails.place(shown, group.matrixWorld);
    placeRing();
    const off = Math.hypot(...frame.centre.map((value, axis) => value - focus.centre[axis]));
    return off + Math.abs(frame.radius - focus.radius) > 0.002 * frame.radius;
  }

  function placeRing() {
    const points = selected && shown.get(selected.id);
    const at = points ? 3 * (selected.index + 1) : 0;
    ring.visible = Boolean(points) && at < points.length;
    if (ring.visible) ring.position.fromArray(points, at).applyMatrix4(group.matrixWorld);
  }

  function arrange(every) {
    const layers = source.layers.map(({ id, data, colour }) => ({
      id,
      steps: data.steps,
      running: source.kind === "live",
      frame: source.several ? resolved(colour) : null,
    }));
    thumbnails.arrange(layers, source.coords, every, frame.radius);
  }

  // A point's place on the canvas, in px.
  const at = (points, k) => stage.project(group.localToWorld(spot.fromArray(points, 3 * k)));

  stage.beforePaint = () => {
    if (!thumbnails.all().length) return;
    const dots = [];
    for (const points of shown.values()) {
      for (let k = 0; k < points.length / 3; k++) {
        const { x, y } = at(points, k);
        dots.push([x, y]);
        // The name of a path lies beneath its end.
        if (k === points.length / 3 - 1) for (const along of NAMED) dots.push([x + along, y + 26]);
      }
    }
    thumbnails.lean(dots, stage.project);
  };

  stage.onPaint = () => {
    if (!shown.size) return;
    const wanted = axes.labels(source.axes);
    for (const [id, points] of shown) {
      const { name, colour, locked, data } = byId.get(id);
      const n = points.length / 3;
      const end = [...points.slice(-3)];
      if (source.several) {
        wanted.push({ at: end, text: shortened(name, 20), kind: "end", colour: resolved(colour), loose: !locked });
        continue;
      }
      wanted.push({ at: [...points.slice(0, 3)], text: "noise", kind: "start" });
      const done = data.status === "complete";
      if (n > 1) wanted.push({ at: end, text: done ? "image" : `step ${n - 1}`, kind: "end" });
    }
    labels.set(wanted, (place) => stage.project(group.localToWorld(spot.set(...place))));
  };

  stage.onResize = () => {
    if (!source?.coords.size) return;
    frame = framing();
    stage.animate(tick);
  };

  stage.onTheme = () => {
    axes.colour(stage.palette);
    shared.start.color.set(stage.palette.gold);
    shared.end.color.set(stage.palette.burgundy);
    ring.material.color.set(stage.palette.ink);
    if (source && shown.size) {
      for (const id of shown.keys()) paint(id);
      thumbnails.reframe((id) => (source.several ? resolved(byId.get(id).colour) : null));
    }
    stage.draw();
  };

  // What is under the pointer: a thumbnail's step, or the nearest state within reach (0 is the noise).
  function under(x, y) {
    if (!shown.size || glide) return null;
    const hit = stage.pick(thumbnails.all(), x, y);
    if (hit) return { id: hit.userData.id, state: hit.userData.index + 1 };
    let best = null;
    let least = REACH;
    for (const [id, points] of shown) {
      for (let k = 0; k < points.length / 3; k++) {
        const place = at(points, k);
        const away = Math.hypot(place.x - x, place.y - y);
        if (away < least) [best, least] = [{ id, state: k }, away];
      }
    }
    return best;
  }

  stage.onClick = (x, y) => {
    const found = under(x, y);
    if (found && found.state > 0) onSelect(found.id, found.state - 1);
  };

  stage.onHover = (x, y) => {
    const found = under(x, y);
    if (!found) return leave();
    const { name, colour, locked } = byId.get(found.id);
    const mark = source.several ? [swatch(resolved(colour), !locked)] : [];
    pointed.replaceChildren(...mark, `${shortened(name, 32)}, ${found.state ? `step ${found.state}` : "noise"}`);
    pointed.hidden = false;
    root.classList.toggle("da-pointing", found.state > 0);
    const place = at(shown.get(found.id), found.state);
    const half = pointed.offsetWidth / 2;
    const left = Math.min(Math.max(place.x, half + 4), root.clientWidth - half - 4);
    const top = place.y > 44 ? place.y - 36 : place.y + 14;
    pointed.style.transform = `translate(${(left - half).toFixed(1)}px, ${top.toFixed(1)}px)`;
    return undefined;
  };

  function leave() {
    pointed.hidden = true;
    root.classList.remove("da-pointing");
  }
  stage.onLeave = leave;

  stage.begin();
  clear();
  return {
    show,
    home() {
      stage.home();
      stage.draw();
    },
  };
}

function sameCoords(a, b) {
  return a.size === b.size && [...b].every(([id, points]) => a.get(id) === points);
}

function described({ layers, view }) {
  const space = view === "umap" ? "three UMAP dimensions" : "three principal components";
  if (layers.length === 1) return `The path of ${layers[0].name} in ${space}`;
  return `The paths of ${layers.length} layers in ${space}: ${layers.map((layer) => layer.name).join(", ")}`;
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
