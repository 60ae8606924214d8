// The stage of the 3D view: renderer, camera, controls, theme and size; it does not know what is drawn on it.

import { onTheme } from "../core/dom.js";

/** Create the stage in `root`. Throws where the browser has no WebGL. */
export function createStage(THREE, root) {
  const renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, powerPreference: "low-power" });
  renderer.setPixelRatio(Math.min(2, window.devicePixelRatio || 1));
  const canvas = renderer.domElement;
  canvas.setAttribute("role", "img");
  root.prepend(canvas);
  const scene = new THREE.Scene();
  const group = new THREE.Group();
  scene.add(group);
  const camera = new THREE.PerspectiveCamera(32, 1, 0.01, 100);
  const controls = new THREE.OrbitControls(camera, canvas);
  controls.enablePan = false;
  controls.minDistance = 1.5;
  controls.maxDistance = 12;
  controls.enableZoom = false; // the wheel scrolls the page until the view is clicked or Ctrl is held
  canvas.style.touchAction = "pan-y";

  const stage = { scene, group, canvas, palette: readPalette(root) };
  Object.assign(stage, { beforePaint() {}, onPaint() {}, onTheme() {}, onResize() {}, onClick() {}, onHover() {}, onLeave() {} });
  let drawing = null;
  let animation = null;
  let before = 0;

  stage.home = () => {
    camera.position.set(0.95, 0.8, 3.5);
    controls.target.set(0, 0, 0);
    controls.update();
  };
  stage.draw = () => {
    drawing ??= requestAnimationFrame((now) => {
      drawing = null;
      if (!root.clientWidth) return; // hidden: it is drawn when it is shown
      let more = false;
      if (animation) {
        more = animation(now, Math.min(100, now - before));
        before = now;
        if (!more) animation = null;
      }
      stage.beforePaint();
      renderer.render(scene, camera);
      stage.onPaint();
      if (more) stage.draw();
    });
  };
  stage.animate = (step) => {
    if (!animation) before = performance.now();
    animation = step;
    stage.draw();
  };
  /** Where a point of the scene is on the canvas, in px, and the px of a unit there; `world` is overwritten. */
  stage.project = (world) => {
    const unit = (canvas.clientHeight * camera.projectionMatrix.elements[5]) / (2 * camera.position.distanceTo(world));
    const spot = world.project(camera);
    return { x: ((spot.x + 1) / 2) * canvas.clientWidth, y: ((1 - spot.y) / 2) * canvas.clientHeight, unit };
  };
  stage.pick = (objects, x, y) => {
    const ray = new THREE.Raycaster();
    ray.setFromCamera(new THREE.Vector2((2 * x) / canvas.clientWidth - 1, 1 - (2 * y) / canvas.clientHeight), camera);
    return ray.intersectObjects(objects)[0]?.object;
  };

  function resize() {
    const width = root.clientWidth;
    const height = root.clientHeight;
    if (!width || !height) return; // hidden: wait until it is shown
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    // A narrow view sees less to the sides: widen the angle so that the same sphere fits.
    camera.fov = (2 * 180 * Math.atan(Math.tan((16 * Math.PI) / 180) / Math.min(1, camera.aspect))) / Math.PI;
    camera.updateProjectionMatrix();
    stage.onResize();
    stage.draw();
  }

  stage.begin = () => {
    stage.home();
    controls.addEventListener("change", stage.draw);
    new ResizeObserver(resize).observe(root);
    const retheme = () => {
      stage.palette = readPalette(root);
      stage.onTheme();
    };
    onTheme(retheme);
    retheme();
    resize();
    let down = null;
    const spot = (event) => {
      const area = canvas.getBoundingClientRect();
      return [event.clientX - area.left, event.clientY - area.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      down = [event.clientX, event.clientY];
      controls.enableZoom = true;
      stage.onLeave();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 5) stage.onClick(...spot(event));
      down = null;
    });
    canvas.addEventListener("pointercancel", () => (down = null));
    let hovering = null;
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons || event.pointerType === "touch") return;
      const first = hovering === null;
      hovering = spot(event);
      if (!first) return;
      requestAnimationFrame(() => {
        if (hovering) stage.onHover(...hovering);
        hovering = null;
      });
    });
    root.addEventListener("pointerleave", () => {
      controls.enableZoom = false;
      hovering = null;
      stage.onLeave();
    });
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", stage.draw);
  };
  return stage;
}

function readPalette(root) {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(name).trim();
  const names = ["ink", "muted", "rule", "gold", "burgundy"];
  return Object.fromEntries(names.map((name) => [name, read(`--da-${name}`)]));
}
