// A lane of a neighbourhood as a map: its pictures where their distances from each other put them.

import { ask } from "../core/ask.js";
import { el, svg } from "../core/dom.js";
import { niceStep, short, significant } from "../core/format.js";
import { caution } from "../runs/space_source.js";
import { absence, basinColour, calledOf, imageOf, namesOf, tagOf, thumb, versionOf } from "./study_basins.js";
import { baselineOf, distancesOf, placeOf } from "../runs/study_words.js";
import { term, withTerms } from "../core/tips.js";

const WAYS = [
  ["pca", "PCA"],
  ["mds", "MDS"],
  ["umap", "UMAP"],
];
const THINGS = [
  ["image", "of images"],
  ["latent", "of latents"],
];
const POLL = 1000; // ms between two questions about a UMAP that is being computed
const SCALE = { width: 110, height: 32 }; // px at the lower left that belong to the scale
const RING = 5; // px between the places that are tried for a picture

/** Create the map in `root`. `onSelect(key of a cell)` is called when a picture is chosen. */
export function createMap(root, { server, onSelect }) {
  const way = choice("Map by", WAYS, "mds");
  const thing = choice("of what", THINGS, "image");
  const readout = el("p", { class: "da-map-readout", "aria-live": "polite" });
  const back = svg("g");
  const dots = svg("g");
  const front = svg("g");
  const chart = svg("svg", { "aria-hidden": "true" }, back);
  const over = svg("svg", { class: "da-scatter-over", "aria-hidden": "true" }, front, dots);
  const markers = el("div", { class: "da-scatter-shots", role: "group" });
  const message = el("p", { class: "da-absent", role: "status", hidden: "" });
  const stage = el("div", { class: "da-scatter" }, chart, markers, over, message);
  const about = el("p", { class: "da-caption" });
  const legend = el("ul", { class: "da-basin-legend" });
  const head = el("div", { class: "da-curves-head da-map-head" }, el("label", { class: "da-field" }, el("span", {}, "Map"), way), thing, readout);
  root.append(head, stage, about, legend);

  let state = null;
  let drawn = "";
  let placed = []; // {key, node, x, y: the point, left, top: the centre of the picture}
  let hovered = null;
  let reachable = null; // the one picture that Tab stops at
  const embedded = new Map(); // what was asked -> {coords, message, pending}

  markers.addEventListener("click", (event) => {
    const key = keyAt(event);
    if (key) onSelect(key);
  });
  markers.addEventListener("pointerover", (event) => point(keyAt(event)));
  markers.addEventListener("pointerleave", () => point(null));
  markers.addEventListener("focusin", (event) => {
    rove(keyAt(event));
    if (event.target.matches(":focus-visible")) point(keyAt(event));
  });
  markers.addEventListener("focusout", () => point(null));
  markers.addEventListener("keydown", move);

  const keyAt = (event) => event.target.closest("[data-cell]")?.dataset.cell ?? null;

  function choice(label, options, chosen) {
    const select = el("select", { class: "da-select", "aria-label": label, onchange: draw }, ...options.map(([value, text]) => el("option", { value }, text)));
    select.value = chosen;
    return select;
  }

  function update(next) {
    state = next;
    draw();
  }

  function draw() {
    if (!state || !root.clientWidth) return; // hidden: drawn when it is shown
    const lane = state.measures?.lanes?.[state.lane];
    const maps = lane?.maps ?? {};
    const known = THINGS.map(([value]) => value).filter((value) => maps[value]);
    head.hidden = !known.length;
    about.hidden = legend.hidden = !known.length;
    if (!known.length) {
      drawn = "";
      clear();
      return tell(absence(state));
    }
    for (const option of thing.options) option.disabled = !known.includes(option.value);
    if (!known.includes(thing.value)) [thing.value] = known;
    const map = way.value === "umap" ? umap(lane) : { ...maps[thing.value][way.value] };
    const images = lane.cells.map((key) => imageOf(state.cells, key));
    const key = [state.study.id, state.lane, versionOf(state.measures), way.value, thing.value, root.clientWidth, Boolean(map.coords), map.message, ...images].join();
    if (key !== drawn) {
      drawn = key;
      hovered = null;
      if (map.coords) place(lane, map);
      else clear();
      tell(map.coords ? null : (map.message ?? "This map cannot be drawn of so few cells."));
      explain(lane, map);
    }
    mark();
  }

  // UMAP is asked of the server, again and again until it is there.
  function umap(lane) {
    const question = { id: state.study.id, lane: state.lane, of: thing.value };
    const key = JSON.stringify([question, versionOf(state.measures), lane.cells]);
    const answer = embedded.get(key);
    if (answer) return answer;
    const waiting = { coords: null, message: "UMAP is being computed…", pending: true };
    embedded.set(key, waiting);
    const put = (found) => {
      embedded.set(key, found);
      draw();
    };
    const wanted = () => root.clientWidth && way.value === "umap" && thing.value === question.of && state.lane === question.lane && state.study.id === question.id;
    const poll = async () => {
      try {
        const found = await ask(server, "umap_map", question);
        if (!found.pending) return put(found);
        if (!wanted()) return embedded.delete(key); // asked again when it is looked at again
        put({ coords: null, message: found.message ?? waiting.message, pending: true });
        setTimeout(poll, POLL);
      } catch (error) {
        embedded.delete(key);
        if (wanted()) fail(key, error.message);
      }
      return null;
    };
    poll();
    return waiting;
  }

  // A refusal stays until something else is looked at: then it is asked once more.
  function fail(key, words) {
    embedded.set(key, { coords: null, message: words, pending: false });
    draw();
    const forget = () => embedded.delete(key);
    way.addEventListener("change", forget, { once: true, capture: true });
  }

  function clear() {
    for (const layer of [back, front, dots]) layer.replaceChildren();
    markers.replaceChildren();
    placed = [];
    readout.textContent = "";
  }

  function tell(words) {
    message.hidden = !words;
    message.textContent = words ?? "";
  }

  function place(lane, { coords }) {
    const { study, cells } = state;
    stage.classList.toggle("da-scatter-many", lane.cells.length > 24);
    const width = stage.clientWidth;
    const height = stage.clientHeight;
    const size = sizeOf(lane.cells.length, width);
    stage.style.setProperty("--da-shot", `${size}px`);
    const points = fitted(coords, width, height, size + 14);
    const anchor = baselineOf(state);
    // The anchor stays where it is, and the others make room for it.
    const spots = apart(points.at, lane.cells.findIndex((key) => columnOf(key) === anchor), size + 10, width, height);
    const slerp = study.spec?.mode === "slerp";
    const far = slerp ? study.columns.at(-1).column : null;
    placed = lane.cells.map((key, k) => {
      const cell = study.cells.find((each) => each.key === key);
      const [[x, y], [left, top]] = [points.at[k], spots[k]];
      const end = cell?.column === anchor ? "start" : cell?.column === far ? "end" : null;
      const text = size >= 40 || end ? tagOf(study, key, size >= 48 ? 6 : 4) : "";
      const node = el(
        "button",
        { type: "button", class: "da-scatter-shot", "data-cell": key, "data-end": end, "data-basin": basinColour(lane.basins, lane.basins?.labels[k]), tabindex: -1, "aria-label": spoken(key), style: `left: ${left}px; top: ${top}px` },
        thumb(cells, key),
        text ? el("span", {}, text) : null,
      );
      return { key, node, x, y, left, top };
    });
    markers.setAttribute("aria-label", `Map of ${placed.length} cells; the arrow keys lead from one to the next`);
    markers.replaceChildren(...placed.map(({ node }) => node));
    rove(placed.some(({ key }) => key === reachable) ? reachable : (placed[0]?.key ?? null));
    back.replaceChildren(...basinsBehind(lane), ...wayThrough(slerp), ...placed.map(stalk), ...scale(points.scale, width, height));
    dots.replaceChildren(...placed.map(({ key, x, y }) => svg("circle", { cx: x, cy: y, r: 3, class: "da-scatter-point", "data-end": columnOf(key) === anchor ? "start" : null })));
  }

  // A soft patch under the points of each basin.
  function basinsBehind(lane) {
    if (!lane.basins || lane.basins.count < 2) return [];
    return lane.basins.members.map((members, basin) => {
      const points = hull(placed.filter(({ key }) => members.includes(key)).map(({ x, y }) => [x, y]));
      const d = points.length ? `M${points.map((p) => p.map((v) => v.toFixed(1)).join()).join("L")}${points.length > 1 ? "Z" : "h0.01"}` : "";
      return svg("path", { d, class: "da-basin-patch", "data-basin": basinColour(lane.basins, basin) });
    });
  }

  // Between two anchors the stops have an order.
  function wayThrough(slerp) {
    if (!slerp || placed.length < 2) return [];
    const order = [...placed].sort((a, b) => columnOf(a.key) - columnOf(b.key));
    return [svg("polyline", { points: order.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "), class: "da-scatter-way" })];
  }

  const columnOf = (key) => state.study.cells.find((cell) => cell.key === key)?.column ?? 0;

  const stalk = ({ x, y, left, top }) => svg("line", { x1: x, y1: y, x2: left, y2: top, class: "da-scatter-stalk" });

  // How long a distance is on this map. UMAP keeps none.
  function scale(perUnit, width, height) {
    if (way.value === "umap" || !Number.isFinite(perUnit)) return [];
    let unit = niceStep(Math.min(140, width / 4) / perUnit / 2);
    if (unit * perUnit > width / 3) unit /= 2;
    const [x, y] = [12, height - 12];
    return [
      svg("path", { d: `M${x},${y - 4}v4h${(unit * perUnit).toFixed(1)}v-4`, class: "da-scatter-scale" }),
      svg("text", { x, y: y - 8, class: "da-axis" }, `distance ${short(unit)}`),
    ];
  }

  function explain(lane, map) {
    const of = thing.value === "image" ? "images" : "final latents";
    const shares = (map.axes ?? []).filter((share) => share !== null && share !== undefined);
    const few = caution(way.value, lane.cells.length);
    const words = {
      pca: `The two directions in which the ${of} differ most${shares.length ? `; they hold ${shares.map((share) => `${(100 * share).toFixed(0)} %`).join(" and ")} of the variance` : ""}.`,
      mds: `{mds|MDS} keeps the distances of the ${of} as well as a plane can${map.stress === null || map.stress === undefined ? "" : ` ({stress|stress} ${significant(map.stress, 2)})`}.`,
      umap: `{umap|UMAP} keeps near ${of} together; how far apart groups lie means little.${few && ` ${few}`}`,
    };
    const tail = " A line leads from a picture to its point, where pictures would cover each other.";
    about.replaceChildren(...withTerms(words[way.value] + tail));
    const { basins } = lane;
    legend.hidden = !basins || basins.count < 2;
    if (legend.hidden) return;
    legend.replaceChildren(
      ...basins.members.map((members, basin) => {
        const [first, ...others] = namesOf(lane, members);
        const shows = first ? `: ${first[0]}${others.length ? `, and ${others.length} more` : ""}` : "";
        return el("li", { "data-basin": basinColour(basins, basin) }, el("i", { class: "da-basin-mark", "aria-hidden": "true" }), el("span", {}, term("basin", `basin ${basin + 1}`), `, ${members.length === 1 ? "1 cell" : `${members.length} cells`}${shows}`));
      }),
    );
  }

  function point(key) {
    if (key === hovered) return;
    hovered = key;
    mark();
  }

  function mark() {
    for (const { key, node } of placed) {
      node.setAttribute("aria-pressed", String(key === state.selected));
      node.classList.toggle("da-near", key === hovered);
    }
    const at = placed.find(({ key }) => key === (hovered ?? state.selected));
    const anchor = placed.find(({ key }) => columnOf(key) === baselineOf(state));
    const reach = at && anchor && at !== anchor ? [svg("line", { x1: anchor.x, y1: anchor.y, x2: at.x, y2: at.y, class: "da-scatter-reach" })] : [];
    front.replaceChildren(...reach, ...(at ? [svg("circle", { cx: at.x, cy: at.y, r: 6, class: "da-scatter-now" })] : []));
    const words = at ? spoken(at.key) : "";
    if (readout.textContent !== words) readout.textContent = words;
  }

  // "Neighbour 3, from the anchor: start 0.156, image 0.0602. Basin 1. Shows …"
  function spoken(key) {
    const cell = state.study.cells.find((each) => each.key === key);
    if (!cell) return "";
    const called = calledOf(state.study, key);
    const { basin, shows } = placeOf(state, cell);
    const base = state.study.cells.find((each) => each.lane === cell.lane && each.column === baselineOf(state));
    const away = cell === base ? [] : distancesOf(state, cell).map(({ key: name, label, value }) => `${name === "hash" ? "hash" : label.toLowerCase()} ${significant(value, 3)}`);
    const from = away.length ? `, from ${base ? calledOf(state.study, base.key) : "the anchor"}: ${away.join(", ")}` : "";
    return `${called.charAt(0).toUpperCase()}${called.slice(1)}${from}.${basin === null ? "" : ` Basin ${basin}.`}${shows ? ` Shows ${shows}.` : ""}`;
  }

  function rove(key) {
    if (!key) return;
    reachable = key;
    for (const each of placed) each.node.tabIndex = each.key === key ? 0 : -1;
  }

  // The nearest picture in the direction of the key.
  function move(event) {
    const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [0, 0];
    const from = placed.find(({ key }) => key === keyAt(event));
    if (!from || (!dx && !dy)) return;
    event.preventDefault();
    let best = null;
    let least = Infinity;
    for (const each of placed) {
      const along = (each.left - from.left) * dx + (each.top - from.top) * dy;
      const aside = Math.abs((each.left - from.left) * dy) + Math.abs((each.top - from.top) * dx);
      if (each !== from && along > 1 && along + 2 * aside < least) [best, least] = [each, along + 2 * aside];
    }
    best?.node.focus();
  }

  new ResizeObserver(draw).observe(root);
  return { update };
}

function sizeOf(count, width) {
  const most = width < 560 ? 46 : 60;
  return Math.max(26, Math.min(most, Math.round(Math.sqrt((0.26 * width * 400) / Math.max(1, count)))));
}

/** Points in px, with one scale for both axes: {at: [[x, y]], scale: px for a unit}. */
function fitted(coords, width, height, margin) {
  const of = (axis) => coords.map((point) => point[axis]);
  const [left, right, low, high] = [Math.min(...of(0)), Math.max(...of(0)), Math.min(...of(1)), Math.max(...of(1))];
  const scale = Math.min((width - 2 * margin) / (right - left), (height - 2 * margin) / (high - low));
  const known = Number.isFinite(scale);
  const at = coords.map(([x, y]) => (known ? [width / 2 + scale * (x - (left + right) / 2), height / 2 - scale * (y - (low + high) / 2)] : [width / 2, height / 2]));
  return { at, scale };
}

/**
 * Centres of squares of `size` px that do not cover each other, each at the free place nearest to its point. The one
 * numbered `first` chooses first, then the others from near it to far, so that what is near stays near.
 */
function apart(points, first, size, width, height) {
  const from = points[Math.max(0, first)];
  const away = points.map(([x, y]) => Math.hypot(x - from[0], y - from[1]));
  const order = points.map((_, k) => k).sort((a, b) => (b === first) - (a === first) || away[a] - away[b] || a - b);
  const inside = ([x, y]) => x >= size / 2 && y >= size / 2 && x <= width - size / 2 && y <= height - size / 2 - 4 && (x - size / 2 > SCALE.width || y + size / 2 < height - SCALE.height);
  const spots = [];
  const taken = [];
  for (const k of order) {
    const free = (spot) => inside(spot) && taken.every(([x, y]) => Math.abs(x - spot[0]) >= size || Math.abs(y - spot[1]) >= size);
    spots[k] = ringsAround(points[k], Math.hypot(width, height)).find(free) ?? points[k];
    taken.push(spots[k]);
  }
  return spots;
}

// A point, and points on ever larger rings around it.
function ringsAround([x, y], most) {
  const rings = [[x, y]];
  for (let radius = RING; radius < most; radius += RING) {
    const count = Math.min(72, Math.ceil(radius));
    for (let k = 0; k < count; k++) {
      const angle = (2 * Math.PI * k) / count;
      rings.push([x + radius * Math.cos(angle), y + radius * Math.sin(angle)]);
    }
  }
  return rings;
}

/** The convex hull of points, in order (Andrew 1979). */
function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  if (sorted.length < 3) return sorted;
  const turn = (o, a, b) => (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);
  const half = (list) => {
    const chain = [];
    for (const point of list) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}
