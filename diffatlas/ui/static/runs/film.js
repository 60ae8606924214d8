// The film: every captured step is a frame with its edge print, in the manner of 35 mm stock.
// One layer on a wide page is a contact sheet, small enough to be seen whole once its run has ended; several are strips
// under each other that scroll as one.

import { el, reducedMotion } from "../core/dom.js";
import { createExposure } from "./film_exposure.js";
import { blankSheet, createSheet } from "./film_sheet.js";
import { remember, remembered } from "../core/remember.js";
import { BUSY } from "../core/state.js";

const ROW_GAP = 8; // px, as in film.css
const NARROW = 620; // px
const FRAME = 114; // px, the least width of a frame
const SMALL = { width: 72, height: 128 }; // px, of a small frame with its edges
const SIZES = ["small", "large"];
const QUICK = 1500; // ms: what is followed in shorter steps jumps, as a glide would never come to rest
const KEPT = 32; // sheets of layers that are not shown now, so that showing them again costs nothing

/** Create the film in `root`. `onSelect(id, index)` opens a step, `onHistogram(id, index)` its histogram. */
export function createFilm(root, { onSelect, onHistogram }) {
  const strip = el("div", { class: "da-strip", "data-mode": "strips" });
  const told = el("span", {});
  const larger = el("button", { type: "button", class: "da-plain", onclick: () => resize() });
  const foot = el("p", { class: "da-caption da-film-foot", hidden: "" }, told, " ", larger);
  root.append(strip, foot);

  const sheets = new Map();
  const exposure = createExposure(strip);
  const blank = blankSheet();
  let shown = [];
  let selected = null;
  let liveKey = null;
  let following = true; // until the visitor takes the film in hand
  let scrolled = 0;
  let width = 0; // as last measured: to ask for it lays the page out
  let owed = null; // what should be in sight, once the film itself is
  let running = false;
  let ahead = null; // the sheet whose end comes into sight with the next frame
  let followed = 0; // when one last did
  let measured = ""; // what the height of the film was found for
  let size = remembered("frames", SIZES, "small"); // of a film that is too long to be seen whole in large frames

  for (const kind of ["wheel", "pointerdown", "touchstart"]) {
    strip.addEventListener(kind, () => (following = false), { passive: true });
  }
  strip.addEventListener("click", click);
  strip.addEventListener("keydown", move);
  strip.addEventListener("focusin", (event) => {
    const at = frameAt(event.target);
    if (at) at.sheet.rove(at.index);
  });
  new ResizeObserver(() => {
    width = strip.clientWidth;
    arrange();
  }).observe(strip);

  function update(state) {
    const layers = state.layers.filter(({ data }) => (data.run && !data.run.hosted) || BUSY.includes(data.status));
    let newest = null;
    shown = layers.map((layer) => {
      const sheet = sheetOf(layer.id);
      const added = sheet.update(layer);
      if (BUSY.includes(layer.data.status)) {
        const key = layer.data.run?.id ?? layer.data.request;
        if (key !== liveKey) following = true;
        liveKey = key;
      }
      if (added && sheet.key === liveKey) newest = sheet;
      return sheet;
    });
    const ended = running && !state.live;
    running = Boolean(state.live);
    blank.expose(running);
    place(shown.length ? shown.map((sheet) => sheet.root) : [blank.root]);
    forget();
    arrange();
    select(state.selected);
    // A finished film is looked at from its beginning: what is decided is decided there.
    if (ended && following && !selected) {
      ahead = null;
      strip.scrollTo({ left: 0, top: 0, behavior: "instant" });
    } else if (newest && following) {
      follow(newest);
    }
  }

  // Once a frame, where the page is laid out anyway.
  function follow(sheet) {
    const first = !ahead;
    ahead = sheet;
    if (!first) return;
    requestAnimationFrame(() => {
      const now = performance.now();
      if (ahead && following) reveal(ahead.end(), now - followed > QUICK);
      ahead = null;
      followed = now;
    });
  }

  function sheetOf(id) {
    const sheet = sheets.get(id) ?? createSheet(id, exposure);
    sheets.delete(id);
    sheets.set(id, sheet);
    return sheet;
  }

  // The least recently shown go first.
  function forget() {
    for (const [id, sheet] of sheets) {
      if (sheets.size - shown.length <= KEPT) return;
      if (sheet.root.isConnected) continue;
      sheets.delete(id);
      sheet.drop();
    }
  }

  function place(nodes) {
    const wanted = new Set(nodes);
    for (const node of [...strip.children]) if (!wanted.has(node)) node.remove();
    nodes.forEach((node, at) => strip.children[at] !== node && strip.insertBefore(node, strip.children[at] ?? null));
  }

  function arrange() {
    width ||= strip.clientWidth;
    if (!width) return;
    strip.dataset.mode = shown.length === 1 && width >= NARROW ? "sheet" : "strips";
    strip.toggleAttribute("data-narrow", width < NARROW);
    fit();
    if (owed?.isConnected) reveal(owed, false);
  }

  // Large frames where all of them are in sight, or while the run goes on; else small ones, and of very many every n-th.
  function fit() {
    const only = strip.dataset.mode === "sheet" ? shown[0] : null;
    const count = only?.count() ?? 0;
    const height = Math.max(0.76 * window.innerHeight, 460);
    const places = (across, down) => Math.max(2, Math.floor(width / across)) * Math.max(2, Math.floor(height / down));
    const long = !running && count + 1 > places(FRAME, 222);
    const small = long && size === "small";
    const every = small ? Math.max(1, Math.ceil(count / (places(SMALL.width, SMALL.height) - 3))) : 1;
    strip.toggleAttribute("data-small", small);
    for (const sheet of shown) sheet.thin(sheet === only ? every : 1);
    foot.hidden = !long;
    say(told, every > 1 ? `Every ${ordinal(every)} of ${count} frames.` : `All ${count} frames.`);
    say(larger, small ? "Large frames" : "Small frames");
    wholeRows(small);
  }

  function resize() {
    size = size === "small" ? "large" : "small";
    remember("frames", size);
    arrange();
    strip.scrollTo({ left: 0, top: 0, behavior: "instant" });
  }

  // Of a contact sheet, a row is in sight whole or not at all.
  function wholeRows(small) {
    const key = [small, strip.dataset.mode, width, window.innerHeight, shown[0]?.count() > 0, shown[0]?.id].join();
    if (key === measured) return;
    measured = key;
    const cell = !small && strip.dataset.mode === "sheet" && strip.querySelector(".da-cell:not([hidden])");
    const pitch = cell ? cell.offsetHeight + ROW_GAP : 0;
    const rows = pitch && Math.max(2, Math.floor((Math.max(0.76 * window.innerHeight, 460) + ROW_GAP) / pitch));
    strip.style.maxHeight = rows ? `${rows * pitch - ROW_GAP}px` : "";
  }

  function select(next) {
    const same = next?.id === selected?.id && next?.index === selected?.index;
    if (!same && selected) sheets.get(selected.id)?.choose(null);
    selected = next ? { id: next.id, index: next.index } : null;
    if (!selected) return;
    const sheet = shown.find((each) => each.id === selected.id);
    const frame = sheet?.choose(selected.index);
    if (frame && !same) reveal(frame.parentNode, false);
  }

  // Scrolls the film and nothing around it, and only as far as needed.
  function reveal(node, smoothly) {
    owed = strip.clientWidth ? null : node;
    if (owed || !node) return;
    const box = strip.getBoundingClientRect();
    const at = node.getBoundingClientRect();
    const covered = parseFloat(getComputedStyle(strip).scrollPaddingLeft) || 0; // by the leaders, which stay
    const dx = nearest(at.left - box.left, at.right - box.left, covered, strip.clientWidth);
    const dy = nearest(at.top - box.top, at.bottom - box.top, 0, strip.clientHeight);
    if (!dx && !dy) return;
    // Frames that come faster than a smooth scroll lasts would leave the film's end out of sight.
    const brisk = performance.now() - scrolled < 400;
    scrolled = performance.now();
    const behavior = !smoothly || brisk || reducedMotion() ? "instant" : "smooth";
    strip.scrollTo({ left: strip.scrollLeft + dx, top: strip.scrollTop + dy, behavior });
  }

  function frameAt(node) {
    const cell = node instanceof Element ? node.closest(".da-cell[data-index]") : null;
    const id = cell?.closest(".da-sheet")?.dataset.layer;
    return cell && sheets.has(id) ? { cell, sheet: sheets.get(id), index: Number(cell.dataset.index) } : null;
  }

  function click(event) {
    const at = frameAt(event.target);
    if (!at) return;
    if (event.target.closest(".da-frame-histogram")) onHistogram(at.sheet.id, at.index);
    else if (event.target.closest(".da-frame")) onSelect(at.sheet.id, at.index);
  }

  function move(event) {
    const at = frameAt(event.target);
    if (!at || event.ctrlKey || event.altKey || event.metaKey) return;
    const to = neighbour(at.sheet, at.index, event.key);
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    following = false;
    to.focus();
  }

  function neighbour(sheet, index, key) {
    const last = sheet.count() - 1;
    const columns = strip.dataset.mode === "sheet" ? sheet.columns() : 0;
    const clamped = (k) => sheet.frame(Math.max(0, Math.min(last, k)));
    switch (key) {
      case "ArrowRight":
        return clamped(sheet.along(index, 1));
      case "ArrowLeft":
        return clamped(sheet.along(index, -1));
      case "Home":
        return clamped(0);
      case "End":
        return clamped(last);
      case "ArrowDown":
      case "ArrowUp": {
        const by = key === "ArrowDown" ? 1 : -1;
        if (columns) return sheet.frame(sheet.along(index, by * columns)) ?? sheet.frame(index);
        const other = shown[shown.indexOf(sheet) + by];
        return other?.count() ? other.frame(Math.min(other.count() - 1, index)) : sheet.frame(index);
      }
      default:
        return null;
    }
  }

  return { update };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function ordinal(n) {
  const end = n % 100 > 10 && n % 100 < 14 ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th");
  return `${n}${end}`;
}

// How far to scroll so that from..to lies within low..high; its end, where it is too large.
function nearest(from, to, low, high) {
  if (to > high) return to - high;
  return from < low ? from - low : 0;
}
