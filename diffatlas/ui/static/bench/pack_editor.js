// A field for text with the numbers of its lines, in which one line can be marked and gone to.

import { el } from "../core/dom.js";

const LINE = 20; // px, as in pack.css
const LEAST = 14; // lines that there is room for

/** Create the field; `onInput(text)` is told of what is typed. */
export function createEditor({ label, onInput }) {
  const numbers = el("pre", { class: "da-pack-numbers", "aria-hidden": "true" });
  const gutter = el("div", { class: "da-pack-gutter", "aria-hidden": "true" }, numbers);
  const band = el("div", { class: "da-pack-band", hidden: "" });
  const area = el("textarea", { class: "da-pack-text", "aria-label": label, wrap: "off", spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  const node = el("div", { class: "da-pack-editor" }, gutter, el("div", { class: "da-pack-field" }, band, area));
  let lines = 0;
  let marked = null;

  area.addEventListener("input", () => {
    count();
    onInput(area.value);
  });
  area.addEventListener("scroll", follow);

  function count() {
    const now = area.value.split("\n").length;
    if (now === lines) return;
    lines = now;
    numbers.textContent = Array.from({ length: lines }, (_, at) => at + 1).join("\n");
    gutter.style.minWidth = `${String(lines).length + 2}ch`;
    node.style.setProperty("--lines", Math.max(LEAST, lines + 1));
  }

  function follow() {
    numbers.style.transform = `translateY(${-area.scrollTop}px)`;
    band.style.transform = `translateY(${(marked - 1) * LINE - area.scrollTop}px)`;
  }

  /** Mark a line, or none. */
  function mark(line) {
    marked = line;
    band.hidden = line === null;
    area.setAttribute("aria-invalid", String(line !== null));
    follow();
  }

  /** Put the cursor on a line, counted from 1, and bring it into sight. */
  function goTo(line) {
    const before = area.value.split("\n").slice(0, line - 1);
    const from = before.reduce((sum, text) => sum + text.length + 1, 0);
    const end = area.value.indexOf("\n", from);
    area.focus({ preventScroll: true });
    area.setSelectionRange(from, end < 0 ? area.value.length : end);
    area.scrollTop = Math.max(0, (line - 1) * LINE - area.clientHeight / 3);
    area.scrollLeft = 0;
    node.scrollIntoView({ block: "nearest" });
  }

  return {
    node,
    mark,
    goTo,
    text: () => area.value,
    /** Put another text in its place. */
    set(text) {
      area.value = text;
      area.scrollTop = 0;
      count();
      follow();
    },
  };
}
