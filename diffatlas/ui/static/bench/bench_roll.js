// A grid of many cards of which only those in view are in the page. By keyboard one of them is moved to.

import { el } from "../core/dom.js";

const LEAST = 146; // px that a card is wide at least
const GAP = 12;
const WORDS = 92; // px beneath the picture
const BEYOND = 2; // rows that are drawn above and below what is in view

/**
 * Create the grid in `root`. `face()` returns {node, update(item, chosen)} of a card; `onChoose(key)` and `onOpen(key)` are
 * told, and `onView(items)` which cards are in view.
 */
export function createRoll(root, { face, label, onChoose, onOpen, onView }) {
  const inner = el("div", { class: "da-bench-rows", role: "presentation" });
  const box = el("div", { class: "da-bench-roll", role: "grid", "aria-label": label, tabindex: -1 }, inner);
  root.append(box);
  const rows = new Map(); // number -> {node, cells}
  let items = [];
  let at = new Map(); // key -> place
  let chosen = null;
  let group = 1; // cards that belong together: rows hold whole groups where they can
  let across = 1;
  let side = LEAST;

  function measure() {
    const room = box.clientWidth - 2;
    if (room <= 0) return false;
    let count = Math.max(1, Math.floor((room + GAP) / (LEAST + GAP)));
    // Where that would not make the cards much larger.
    if (count % group <= count / 4) count -= count % group;
    across = count;
    side = Math.floor((room - GAP * (count - 1)) / count);
    return true;
  }

  const height = () => side + WORDS + GAP;

  /** Show these cards. */
  function update(next) {
    if (next.items !== items) {
      ({ items } = next);
      at = new Map(items.map(({ key }, place) => [key, place]));
    }
    group = next.group;
    chosen = next.chosen;
    draw();
  }

  function draw() {
    if (!measure()) return; // hidden: drawn when it is shown
    const count = Math.ceil(items.length / across);
    inner.style.height = `${Math.max(0, count * height() - GAP)}px`;
    box.setAttribute("aria-rowcount", count);
    box.setAttribute("aria-colcount", across);
    const first = Math.max(0, Math.floor(box.scrollTop / height()) - BEYOND);
    const last = Math.min(count - 1, Math.ceil((box.scrollTop + box.clientHeight) / height()) + BEYOND);
    const held = rowOf(chosen);
    for (const [number, row] of rows) {
      const kept = (number >= first && number <= last) || (number === held && number < count);
      if (kept && row.cells.length === across) continue;
      row.node.remove();
      rows.delete(number);
    }
    for (let number = first; number <= last; number += 1) drawRow(number);
    if (held !== null && (held < first || held > last)) drawRow(held);
    onView(items.slice(first * across, (last + 1) * across));
  }

  const rowOf = (key) => (at.has(key) ? Math.floor(at.get(key) / across) : null);

  function drawRow(number) {
    if (!rows.has(number)) rows.set(number, createRow(number));
    const { node, cells } = rows.get(number);
    node.style.transform = `translateY(${number * height()}px)`;
    node.style.setProperty("--da-side", `${side}px`);
    node.style.gridTemplateColumns = `repeat(${across}, minmax(0, 1fr))`;
    cells.forEach((cell, column) => {
      const item = items[number * across + column];
      cell.node.hidden = !item;
      if (!item) return;
      const isChosen = item.key === chosen;
      cell.node.dataset.cell = item.key;
      cell.node.tabIndex = isChosen || (chosen === null && number === 0 && column === 0) || (!at.has(chosen) && number === 0 && column === 0) ? 0 : -1;
      cell.node.setAttribute("aria-selected", String(isChosen));
      cell.face.update(item, cell.node);
    });
  }

  function createRow(number) {
    const cells = Array.from({ length: across }, (_, column) => {
      const own = face();
      const node = el("div", { role: "gridcell", class: "da-card", "aria-colindex": column + 1 }, own.node);
      return { node, face: own };
    });
    const node = el("div", { role: "row", class: "da-bench-row", "aria-rowindex": number + 1 }, ...cells.map((cell) => cell.node));
    inner.append(node);
    return { node, cells };
  }

  /** Bring a card into view, and the keyboard to it. */
  function focus(key) {
    const row = rowOf(key);
    if (row === null) return;
    const top = row * height();
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + side + WORDS > box.scrollTop + box.clientHeight) box.scrollTop = top + side + WORDS - box.clientHeight;
    draw();
    inner.querySelector(`[data-cell="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  }

  function go(place) {
    const item = items[Math.max(0, Math.min(items.length - 1, place))];
    if (!item) return;
    onChoose(item.key);
    chosen = item.key;
    focus(item.key);
  }

  box.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const now = at.get(chosen) ?? -1;
    const page = Math.max(1, Math.floor(box.clientHeight / height())) * across;
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, ArrowDown: now + across, ArrowUp: now - across, Home: 0, End: items.length - 1, PageDown: now + page, PageUp: now - page }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      // From the last whole row there is nothing below.
      if (to >= 0 || event.key !== "ArrowUp") go(to);
    } else if (event.key === "Enter" && at.has(chosen)) {
      event.preventDefault();
      onOpen(chosen);
    }
  });
  box.addEventListener("click", (event) => {
    const key = event.target.closest("[data-cell]")?.dataset.cell;
    if (!key) return;
    onChoose(key);
    event.target.closest("[data-cell]").focus({ preventScroll: true });
  });
  box.addEventListener("dblclick", (event) => {
    const key = event.target.closest("[data-cell]")?.dataset.cell;
    if (key) onOpen(key);
  });
  let frame = 0;
  box.addEventListener(
    "scroll",
    () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(draw);
    },
    { passive: true },
  );
  new ResizeObserver(() => draw()).observe(box);

  return { update, focus, go, place: (key) => at.get(key) ?? -1 };
}
