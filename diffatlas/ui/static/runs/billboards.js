// The thumbnails of the 3D view: pictures that stand by their points, where they hide least, and face the viewer.

const SIDE = 0.3; // of the largest, where the radius of what is framed is 1
const TEXTURE = 104; // px: a picture of 96 px and its frame
const EDGE = 4;
const AWAY = 0.72; // sides of a picture from its point to its middle
// Where a picture may stand, seen from its point, the y axis upwards; the first where others are no better.
const PLACES = [[0, 1], [-1, 1], [1, 1], [-1, 0], [1, 0], [-1, -1], [1, -1], [0, -1]];
const LATER = 0.3; // what a later place costs, in hidden points
const OVERLAP = 6; // what it costs to hide a whole picture
const STAY = 2; // what must be won by a move: nothing jumps about while the view turns
const AT_LARGE = 12; // so many thumbnails have their full size; more are smaller
const FILM = "#191512";

/** Create the thumbnails in `scene`; `ready()` is called when a picture has arrived. */
export function createBillboards(THREE, scene, ready) {
  const sprites = new Map(); // "id/index" -> sprite
  let side = SIDE;

  function drop(key) {
    const sprite = sprites.get(key);
    sprites.delete(key);
    scene.remove(sprite);
    sprite.material.map?.dispose();
    sprite.material.dispose();
  }

  return {
    /**
     * Have thumbnails of `layers` ({id, steps, running, frame: colour or null}) at `points` (Map of id to points),
     * every `every` steps, where the radius of what is framed is `radius` data units.
     */
    arrange(layers, points, every, radius) {
      const chosen = chooseThumbnails(layers, points, every, radius);
      side = chosen.side;
      const wanted = new Map(chosen.kept.map((one) => [`${one.layer.id}/${one.step.index}`, one]));
      for (const key of [...sprites.keys()]) if (!wanted.has(key)) drop(key);
      for (const [key, { layer, step }] of wanted) {
        const frame = layer.frame ?? FILM;
        let sprite = sprites.get(key);
        if (!sprite) {
          sprite = createSprite(THREE, step.preview, ready);
          sprite.userData.id = layer.id;
          sprite.userData.index = step.index;
          sprites.set(key, sprite);
          scene.add(sprite);
        }
        sprite.scale.setScalar(side);
        sprite.userData.paint(frame);
      }
    },
    /** Put them at `points`, by the matrix from data to the scene. */
    place(points, matrix) {
      for (const sprite of sprites.values()) {
        const path = points.get(sprite.userData.id);
        if (!path) continue;
        const at = Math.min(3 * (sprite.userData.index + 1), path.length - 3);
        sprite.position.fromArray(path, at).applyMatrix4(matrix);
      }
    },
    /** Move each to where it hides the fewest of `dots` (px on the screen: [x, y]) and of the other pictures.
     *
     * `project(point)` gives the place of a point of the scene on the screen, and the px of a unit there.
     */
    lean(dots, project) {
      const taken = [];
      const spot = new THREE.Vector3();
      for (const sprite of sprites.values()) {
        const { x, y, unit } = project(spot.copy(sprite.position));
        const best = bestPlace({ x, y, side: side * unit }, dots, taken, sprite.userData.stands ?? 0);
        taken.push(best.middle);
        sprite.userData.stands = best.place;
        const [right, up] = PLACES[best.place];
        sprite.center.set(0.5 - AWAY * right, 0.5 - AWAY * up);
      }
    },
    /** Have the frames in the colour that `frame(id)` gives (null for the film's). */
    reframe(frame) {
      for (const sprite of sprites.values()) sprite.userData.paint(frame(sprite.userData.id) ?? FILM);
    },
    all: () => [...sprites.values()],
    clear() {
      for (const key of [...sprites.keys()]) drop(key);
    },
  };
}

/**
 * Choose the thumbnails: of each layer the first, the last (once its run has ended) and one every `every` steps,
 * without those that would cover one chosen before. Returns {kept: [{layer, step}], side}.
 */
function chooseThumbnails(layers, points, every, radius) {
  if (!every) return { kept: [], side: SIDE };
  const ends = [];
  const rows = layers.map((layer) => {
    const path = points.get(layer.id);
    const pictured = layer.steps.filter((step) => step.preview && 3 * (step.index + 1) < path.length);
    const row = [];
    let next = 0;
    for (const step of pictured) {
      if (step.index < next) continue;
      row.push({ layer, step, path });
      next = step.index + every;
    }
    if (row.length) ends.push(row.shift());
    const last = pictured.at(-1);
    if (last && !layer.running && last !== ends.at(-1)?.step) {
      if (row.at(-1)?.step === last) row.pop();
      ends.push({ layer, step: last, path });
    }
    return row;
  });
  const count = ends.length + rows.reduce((sum, row) => sum + row.length, 0);
  const side = SIDE * Math.max(0.42, Math.min(1, Math.sqrt(AT_LARGE / count)));
  const kept = [];
  const free = (one, room) => kept.every((other) => gap(one, other) >= room);
  for (const one of ends) if (free(one, 0.1 * side * radius)) kept.push(one);
  // Many thumbnails need more room: a heap of them hides the paths.
  const room = (count > 5 * AT_LARGE ? 1.3 : count > AT_LARGE ? 0.8 : 0.5) * side * radius;
  for (let k = 0; rows.some((row) => k < row.length); k++) {
    for (const row of rows) if (k < row.length && free(row[k], room)) kept.push(row[k]);
  }
  return { kept, side };
}

/** Choose where a picture of `side` px stands by its point (x, y) px: {place: index of PLACES, middle: [x, y]}. */
export function bestPlace({ x, y, side }, dots, pictures, before) {
  const near = (list, far) => list.filter((one) => Math.abs(one[0] - x) < far && Math.abs(one[1] - y) < far);
  const within = near(dots, 1.5 * side);
  const others = near(pictures, 2.5 * side);
  const costs = PLACES.map(([right, up], index) => {
    const middle = [x + AWAY * side * right, y - AWAY * side * up];
    const away = (one, axis) => Math.abs(one[axis] - middle[axis]) / side;
    const hidden = within.filter((dot) => away(dot, 0) < 0.5 && away(dot, 1) < 0.5).length;
    const covered = others.reduce((sum, one) => sum + Math.max(0, 1 - away(one, 0)) * Math.max(0, 1 - away(one, 1)), 0);
    return { place: index, middle, cost: hidden + OVERLAP * covered + LATER * index - (index === before ? STAY : 0) };
  });
  return costs.reduce((best, one) => (one.cost < best.cost ? one : best));
}

function gap(a, b) {
  const [i, j] = [3 * (a.step.index + 1), 3 * (b.step.index + 1)];
  return Math.hypot(a.path[i] - b.path[j], a.path[i + 1] - b.path[j + 1], a.path[i + 2] - b.path[j + 2]);
}

function createSprite(THREE, source, ready) {
  const material = new THREE.SpriteMaterial({ transparent: true, depthTest: false, opacity: 0 });
  const sprite = new THREE.Sprite(material);
  sprite.center.set(0.5, -0.22); // it stands above its point
  sprite.renderOrder = 2;
  const picture = new Image();
  let frame = null;
  let drawn = null;

  function draw() {
    if (!picture.complete || !picture.naturalWidth || drawn === frame) return;
    drawn = frame;
    const canvas = material.map?.image ?? document.createElement("canvas");
    canvas.width = canvas.height = TEXTURE;
    const pen = canvas.getContext("2d");
    const shrink = (TEXTURE - 2 * EDGE) / Math.max(picture.width, picture.height);
    const [w, h] = [picture.width * shrink, picture.height * shrink];
    const [x, y] = [(TEXTURE - w) / 2, (TEXTURE - h) / 2];
    pen.fillStyle = frame;
    pen.fillRect(x - EDGE, y - EDGE, w + 2 * EDGE, h + 2 * EDGE);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, x, y, w, h);
    if (material.map) {
      material.map.needsUpdate = true;
    } else {
      material.map = new THREE.CanvasTexture(canvas);
      material.map.colorSpace = THREE.SRGBColorSpace;
      material.needsUpdate = true;
    }
    material.opacity = 1;
    ready();
  }

  sprite.userData.paint = (colour) => {
    frame = colour;
    draw();
  };
  picture.onload = () => sprite.parent && draw();
  picture.src = source;
  return sprite;
}
