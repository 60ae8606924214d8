// How far apart two images are, against how far apart their noise was: every pair of a lane as a point, the median,
// the slope at 0 with its interval, and the pairs that jump.

import { el, svg } from "../core/dom.js";
import { niceTicks, short, significant } from "../core/format.js";
import { swatch } from "../figures/labels3d.js";
import { absence, calledOf, definitions, distanceWord, imageOf, pairs, thumb, versionOf } from "./study_basins.js";
import { createTogether, laneLike } from "./study_together.js";
import { term } from "../core/tips.js";

const HEIGHT = 360;
const MARGIN = { top: 12, right: 14, bottom: 40, left: 54 };
const REACH = 26; // px from the pointer to the pair it means
const JUMPS = 5; // listed at first
const UNUSUAL = 1.5; // times the usual distance, from which on a ratio is worth saying

/** Create the view in `root`. `onSelect(key of a cell)` is called for a cell of a pair. */
export function createGrowth(root, { onSelect }) {
  const near = el("select", { class: "da-select", "aria-label": "Distance along the horizontal axis", onchange: () => ((chosen = null), draw()) });
  near.append(el("option", { value: "growth" }, "start"), el("option", { value: "growth_latent" }, "latents"));
  const ofChosen = el("span", { hidden: "" }, el("i", { class: "da-growth-mark da-key-touch", "aria-hidden": "true" }), el("span", {}));
  const key = el("span", { class: "da-growth-key" });
  const head = el("div", { class: "da-curves-head" }, el("label", { class: "da-field" }, el("span", {}, "Image distance by distance of"), near), key);
  const frame = el("div", { class: "da-growth-frame", tabindex: 0, role: "group", onpointermove: aim, onpointerleave: () => aim(null), onclick: pin, onkeydown: step });
  const card = createPair({ onSelect, hint: "Point at a pair to see it, choose it with a click. With the keyboard, the arrow keys lead from pair to pair." });
  const sentence = el("p", { class: "da-growth-sentence" });
  const list = el("ol", { class: "da-jumps" });
  const jumpsHead = el("h3", {});
  const jumpsNote = el("p", { class: "da-caption" });
  const more = el("button", { type: "button", class: "da-plain", onclick: () => ((all = true), tellJumps()) });
  const told = definitions();
  const together = createTogether();
  const absent = el("p", { class: "da-absent" });
  const body = el("div", { class: "da-growth-body" }, head, el("div", { class: "da-growth-columns" }, frame, card.node), sentence, together.node, el("section", {}, jumpsHead, jumpsNote, list, more), told.node);
  root.append(absent, body);

  let state = null;
  let drawn = "";
  let plot = null; // {points: [{a, b, x, y, px, py, jump}] by x, marks}
  let chosen = null; // {a, b} of the pair that is held
  let hovered = null;
  let all = false; // whether every jump is listed

  const lane = () => state?.measures?.lanes?.[state.lane] ?? null;
  // The same curve of the studies that are layers.
  const besides = () => state.kept.others.map((other) => ({ name: other.name, colour: other.colour, ...laneLike(other, state.study, state.lane)[near.value] })).filter(({ curve }) => curve?.length);

  function update(next) {
    if (next.lane !== state?.lane || next.study.id !== state?.study.id) {
      chosen = null;
      all = false;
    }
    state = next;
    draw();
  }

  function draw() {
    if (!state || !root.clientWidth) return; // hidden: drawn when it is shown
    const own = lane();
    const ways = ["growth", "growth_latent"].filter((way) => own?.[way]?.pairs?.length);
    absent.hidden = ways.length > 0;
    body.hidden = !absent.hidden;
    if (!ways.length) {
      drawn = "";
      const pictures = own?.matrices?.image ? "These cells have pictures only: there is no noise to hold their distances against." : null;
      absent.textContent = own?.growth?.sentence ?? pictures ?? absence(state);
      return;
    }
    for (const option of near.options) option.disabled = !ways.includes(option.value);
    if (!ways.includes(near.value)) [near.value] = ways;
    const next = [state.study.id, state.lane, versionOf(state.measures), near.value, root.clientWidth, state.kept.own.colour, state.kept.own.name, ...besides().map(({ name, colour }) => name + colour), ...own.cells.map((cell) => imageOf(state.cells, cell))].join();
    if (next !== drawn) {
      drawn = next;
      hovered = null;
      drawPlot(own[near.value], own);
      sentence.textContent = own[near.value].sentence ?? "";
      tellJumps();
      told.write([
        ["Slope at 0", state.measures.definitions?.growth],
        ["Jump", state.measures.definitions?.jump],
        ["Start distance", state.measures.definitions?.start],
      ]);
    }
    together.update(state, near.value);
    mark();
  }

  function drawPlot(growth, own) {
    const width = frame.clientWidth;
    const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
    const known = growth.pairs.filter(({ x, y }) => x !== null && y !== null);
    const others = besides();
    const [wide, tall] = ["x", "y"].map((name, at) => 1.04 * Math.max(1e-9, ...known.map((pair) => pair[name]), ...others.flatMap(({ curve }) => curve.map((place) => place[at]))));
    const line = (places) => places.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
    const medianOf = ({ curve, colour }) => (curve?.length > 1 ? svg("polyline", { points: line(curve), class: "da-growth-median", ...(colour ? { style: `stroke: ${colour}` } : {}) }) : null);
    const { name: ownName, colour: ownColour } = state.kept.own;
    const [along, up] = [wide, tall].map((most) => niceTicks(0, most, 5).filter((tick) => tick <= most));
    const x = (value) => MARGIN.left + (inner.w * value) / wide;
    const y = (value) => MARGIN.top + inner.h * (1 - value / tall);
    const jumps = new Set((own.jumps ?? []).map(pairKey));
    const points = known.map((pair) => ({ ...pair, px: x(pair.x), py: y(pair.y), jump: jumps.has(pairKey(pair)) })).sort((a, b) => a.x - b.x || a.y - b.y);
    const marks = svg("g");
    const titles = [distanceWord(growth.near), distanceWord(growth.far)];
    const chart = svg(
      "svg",
      { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${cap(titles[1])} by ${titles[0]}, ${points.length} pairs. ${growth.sentence ?? ""}` },
      ...up.flatMap((tick) => [svg("line", { class: "da-grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }), svg("text", { class: "da-tick", x: MARGIN.left - 7, y: y(tick) + 3.5, "text-anchor": "end" }, short(tick))]),
      ...along.map((tick) => svg("text", { class: "da-tick", x: x(tick), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, short(tick))),
      svg("text", { class: "da-axis", x: MARGIN.left + inner.w / 2, y: HEIGHT - 5, "text-anchor": "middle" }, titles[0]),
      svg("text", { class: "da-axis", x: 11, y: MARGIN.top + inner.h / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${MARGIN.top + inner.h / 2})` }, titles[1]),
      ...slopeLines(growth, points, x, y, { most: tall, far: wide }),
      ...points.map(({ px, py, jump }) => svg("circle", { cx: px.toFixed(1), cy: py.toFixed(1), r: jump ? 4.5 : 3, class: jump ? "da-pair-dot da-pair-jump" : "da-pair-dot" })),
      ...others.map(medianOf),
      medianOf({ curve: growth.curve, colour: others.length ? ownColour : null }),
      marks,
    );
    plot = { points, marks };
    frame.setAttribute("aria-label", `Pairs by ${titles[0]}: the arrow keys lead from one to the next, Enter chooses`);
    frame.replaceChildren(chart);
    const entry = (name, kind) => el("span", {}, el("i", { class: `da-growth-mark ${kind}`, "aria-hidden": "true" }), name);
    key.replaceChildren(
      entry("a pair", "da-key-pair"),
      ...(growth.curve?.length > 1 && !others.length ? [entry("median", "da-key-median")] : []),
      ...(growth.slope === null ? [] : [entry(term("growth_slope", "slope at 0"), "da-key-slope")]),
      ...(points.some(({ jump }) => jump) ? [entry(term("jump", "jump"), "da-key-jump")] : []),
      ofChosen,
      ...(others.length ? [{ name: `median of ${ownName} (in view)`, colour: ownColour }, ...others.map(({ name, colour }) => ({ name: `median of ${name}`, colour }))] : []).map(({ name, colour }) => el("span", { class: "da-growth-study" }, swatch(colour, false), name)),
    );
  }

  function aim(event) {
    const next = event && plot ? nearest(event) : null;
    if (next === hovered) return;
    hovered = next;
    mark();
  }

  function nearest(event) {
    const box = frame.getBoundingClientRect();
    let best = null;
    let least = REACH;
    for (const point of plot.points) {
      const away = Math.hypot(point.px - (event.clientX - box.left), point.py - (event.clientY - box.top));
      // A jump is meant rather than the pairs around it.
      const weighed = point.jump ? 0.7 * away : away;
      if (weighed < least) [best, least] = [point, weighed];
    }
    return best;
  }

  function pin(event) {
    const point = plot ? nearest(event) : null;
    if (point) hold(point);
  }

  function hold(pair) {
    chosen = { a: pair.a, b: pair.b };
    hovered = null;
    onSelect(pair.b);
    mark();
  }

  function step(event) {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!plot?.points.length) return;
    const at = plot.points.findIndex((point) => point === (hovered ?? held()));
    if (by) {
      event.preventDefault();
      hovered = plot.points[at < 0 ? 0 : Math.min(plot.points.length - 1, Math.max(0, at + by))];
      mark();
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
      event.preventDefault();
      hold(plot.points[at]);
    }
  }

  const held = () => (chosen ? plot.points.find((point) => pairKey(point) === pairKey(chosen)) : undefined);

  function mark() {
    if (!plot) return;
    // Nothing pointed at: the strongest jump is worth a look.
    const [first] = lane()?.jumps ?? [];
    const at = hovered ?? held() ?? (first && plot.points.find((point) => pairKey(point) === pairKey(first))) ?? null;
    const touching = plot.points.filter(({ a, b }) => a === state.selected || b === state.selected);
    plot.marks.replaceChildren(
      ...touching.map(({ px, py }) => svg("circle", { cx: px, cy: py, r: 5.5, class: "da-pair-touch" })),
      ...(at ? [svg("path", { d: `M${at.px},${HEIGHT - MARGIN.bottom}V${at.py}H${MARGIN.left}`, class: "da-pair-rule" }), svg("circle", { cx: at.px, cy: at.py, r: 5.5, class: "da-pair-now" })] : []),
    );
    const growth = lane()?.[near.value];
    card.show(state, at && [at.a, at.b], at && [[cap(distanceWord(growth.near)), at.x], [cap(distanceWord(growth.far)), at.y]], at?.jump ? "a jump" : null);
    const own = touching.length ? `pairs of ${calledOf(state.study, state.selected)}` : "";
    ofChosen.hidden = !own;
    if (ofChosen.lastChild.textContent !== own) ofChosen.lastChild.textContent = own;
    for (const line of list.children) line.firstChild.setAttribute("aria-pressed", String(line.dataset.pair === (chosen && pairKey(chosen))));
  }

  function tellJumps() {
    const own = lane();
    const jumps = own?.jumps ?? [];
    jumpsHead.replaceChildren(term("jump", "Jumps"), jumps.length ? `: ${jumps.length}` : "");
    const note = state.measures.note ?? (jumps.length ? "Pairs whose noise is close and whose images are not, the most unusual first." : "None: where the noise of two cells is close, so are their images.");
    jumpsNote.textContent = note;
    const shown = all ? jumps : jumps.slice(0, JUMPS);
    list.replaceChildren(
      ...shown.map((jump) => el("li", { "data-pair": pairKey(jump) }, el("button", { type: "button", class: "da-jump", "aria-pressed": "false", onclick: () => hold(jump) }, el("span", { class: "da-jump-shots", "aria-hidden": "true" }, thumb(state.cells, jump.a), thumb(state.cells, jump.b)), el("span", {}, jumpSentence(state.study, own, jump))))),
    );
    more.hidden = shown.length === jumps.length;
    more.textContent = `Show ${jumps.length - shown.length} more`;
    mark();
  }

  new ResizeObserver(draw).observe(root);
  return { update };
}

/**
 * Two cells beside each other: `node`, and `show(state, [key, key] or null, [[name, value]], what they are or
 * null)`. Their pictures choose them; `hint` says how to come by others.
 */
export function createPair({ onSelect, hint }) {
  const shots = el("div", { class: "da-pair-shots" });
  const words = el("p", { class: "da-pair-words", "aria-live": "polite" });
  const numbers = el("dl", { class: "da-numbers" });
  const node = el("div", { class: "da-pair-card" }, shots, el("div", {}, words, numbers, el("p", { class: "da-pair-hint" }, hint)));
  let shown = null;

  function show(state, keys, values, kind) {
    const next = JSON.stringify([keys, values, kind, keys?.map((key) => imageOf(state.cells, key))]);
    if (next === shown) return;
    shown = next;
    shots.hidden = !keys;
    if (!keys) {
      shots.replaceChildren();
      words.textContent = "";
      numbers.replaceChildren();
      return;
    }
    const lane = state.measures.lanes[state.lane];
    const name = (key) => lane.names?.[lane.cells.indexOf(key)] ?? null;
    shots.replaceChildren(
      ...keys.map((key) =>
        el("button", { type: "button", class: "da-pair-shot", "aria-label": `Choose ${calledOf(state.study, key)}`, onclick: () => onSelect(key) }, thumb(state.cells, key), el("span", { class: "da-pair-name" }, cap(calledOf(state.study, key))), name(key) ? el("span", { class: "da-pair-shows" }, name(key)) : null),
      ),
    );
    const [a, b] = keys.map((key) => calledOf(state.study, key));
    words.textContent = keys[0] === keys[1] ? `${cap(a)} and itself` : `${cap(a)} and ${b}${kind ? `: ${kind}` : ""}`;
    numbers.replaceChildren(...pairs(values.map(([label, value]) => [label, significant(value, 3)])));
  }

  return { node, show };
}

const pairKey = ({ a, b }) => [a, b].sort().join(" ");

// The line of the slope at 0 and the wedge of its interval, as far as pairs weigh in: to twice the lower quartile.
function slopeLines({ slope, low, high }, points, x, y, { most, far }) {
  if (slope === null || slope === undefined) return [];
  const positive = points.map((point) => point.x).filter((value) => value > 0);
  const end = Math.min(far, 2 * (positive[Math.floor((positive.length - 1) / 4)] ?? far));
  const to = (k) => (k * end > most ? [most / k, most] : [end, k * end]);
  const px = ([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`;
  const parts = [];
  if (low !== null && high !== null && low !== undefined && high !== undefined) {
    const corner = high * end > most && low * end <= most ? [px([end, most])] : [];
    parts.push(svg("polygon", { points: [px([0, 0]), px(to(Math.max(0, high))), ...corner, px(to(Math.max(0, low)))].join(" "), class: "da-growth-band" }));
  }
  const [a, b] = [px([0, 0]).split(","), px(to(Math.max(0, slope))).split(",")];
  parts.push(svg("line", { x1: a[0], y1: a[1], x2: b[0], y2: b[1], class: "da-growth-slope" }));
  return parts;
}

function jumpSentence(study, lane, { a, b, near, far, ratio, named }) {
  const [first, second] = [a, b].map((key) => calledOf(study, key));
  const [one, other] = [a, b].map((key) => lane.names?.[lane.cells.indexOf(key)]);
  const begin = `${cap(first)} and ${second} start ${significant(near, 3)} apart`;
  const distance = `${significant(far, 3)} apart${Number.isFinite(ratio) && ratio >= UNUSUAL ? `, ${significant(ratio, 2)} times the usual for starts so close` : ""}`;
  if (named && one && other) return `${begin}, and one shows “${one}”, the other “${other}”. Their images are ${distance}.`;
  const alike = named === false ? " Both show the same things." : "";
  return `${begin}, and their images are ${distance}.${alike}`;
}

const cap = (text) => text.charAt(0).toUpperCase() + text.slice(1);
