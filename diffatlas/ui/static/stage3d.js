// The stage of the 3D view: what does not know what is drawn on it.

import { el } from "./dom.js";

// Renderer, camera, controls, theme and size: everything that does not know what is drawn.
export function createStage(THREE, root) {
  const renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, powerPreference: "low-power" });
  renderer.setPixelRatio(Math.min(2, window.devicePixelRatio || 1));
  root.prepend(renderer.domElement);
  const scene = new THREE.Scene();
  const group = new THREE.Group();
  scene.add(group);
  const camera = new THREE.PerspectiveCamera(32, 1, 0.01, 100);
  const controls = new THREE.OrbitControls(camera, renderer.domElement);
  controls.enablePan = false;
  controls.minDistance = 1.5;
  controls.maxDistance = 12;
  controls.enableZoom = false; // the wheel scrolls the page until the view is clicked or Ctrl is held
  renderer.domElement.style.touchAction = "pan-y";

  const stage = { scene, camera, group, palette: readPalette(root), onPaint() {}, onTheme() {}, onClick() {}, onResize() {} };
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
      let more = false;
      if (animation) {
        more = animation(now, Math.min(100, now - before));
        before = now;
        if (!more) animation = null;
      }
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
  stage.project = (world) => {
    const spot = world.project(camera);
    const { clientWidth: w, clientHeight: h } = renderer.domElement;
    return { x: ((spot.x + 1) / 2) * w, y: ((1 - spot.y) / 2) * h };
  };
  stage.pick = (objects, x, y) => {
    const { clientWidth: w, clientHeight: h } = renderer.domElement;
    const ray = new THREE.Raycaster();
    ray.setFromCamera(new THREE.Vector2((2 * x) / w - 1, 1 - (2 * y) / h), camera);
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
    stage.onResize(width, height);
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
    new MutationObserver(retheme).observe(document.body, { attributeFilter: ["class"] });
    retheme();
    resize();
    const canvas = renderer.domElement;
    let down = null;
    canvas.addEventListener("pointerdown", (event) => {
      down = [event.clientX, event.clientY];
      controls.enableZoom = true;
    });
    canvas.addEventListener("pointerup", (event) => {
      if (down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 5) {
        const area = canvas.getBoundingClientRect();
        stage.onClick(event.clientX - area.left, event.clientY - area.top);
      }
    });
    root.addEventListener("pointerleave", () => (controls.enableZoom = false));
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", stage.draw);
  };
  return stage;
}

// Words beside points of the scene, as elements, so that they are crisp and follow the theme.
export function createLabels(root) {
  const layer = el("div", { class: "da-labels", "aria-hidden": "true" });
  root.append(layer);
  const nodes = [];
  return {
    clear: () => layer.replaceChildren(...(nodes.length = 0, [])),
    set(points, project) {
      while (nodes.length < points.length) nodes.push(layer.appendChild(el("span")));
      while (nodes.length > points.length) nodes.pop().remove();
      const [w, h] = [root.clientWidth, root.clientHeight];
      points.forEach(({ at, text, kind }, k) => {
        const { x, y } = project(at);
        const node = nodes[k];
        if (node.textContent !== text) node.textContent = text;
        node.className = `da-label da-label-${kind}`;
        const left = Math.min(Math.max(x, node.offsetWidth / 2 + 4), w - node.offsetWidth / 2 - 4);
        node.style.transform = `translate(${left.toFixed(1)}px, ${Math.min(h - 14, Math.max(8, y)).toFixed(1)}px)`;
      });
    },
  };
}

function readPalette(root) {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ink: read("--da-muted"), rule: read("--da-rule"), gold: read("--da-gold"), burgundy: read("--da-burgundy") };
}
