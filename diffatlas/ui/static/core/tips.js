// The glossary on the page: a term that explains itself on hover, on focus and on tap.
// Everything with `data-term="<key>"` does so; one bubble serves all of them.

import { el } from "./dom.js";

const BUBBLE = "da-tip";
const SHOW_AFTER = 140; // ms: passing over a term says nothing
const HIDE_AFTER = 160; // ms: time to move from the term into the bubble
const GAP = 8;

let glossary = {};
let bubble = null;
let anchor = null;
let timer = 0;
let watch = 0;
let resting = null; // where the pointer was last

/** Take the glossary, {key: {name, text, formula, source}}, and listen. Call it once, before `term`. */
export function initTips(entries) {
  glossary = entries ?? {};
  if (bubble) return;
  bubble = el("div", { id: BUBBLE, class: "da-tip", role: "tooltip", hidden: "" });
  document.body.append(bubble);
  document.addEventListener("pointerover", over);
  document.addEventListener("pointermove", ({ clientX: x, clientY: y }) => (resting = { x, y }), { passive: true });
  document.addEventListener("click", click);
  document.addEventListener("focusin", (event) => {
    const target = termAt(event.target);
    if (target && event.target.matches(":focus-visible")) show(target);
    else if (!target) hide();
  });
  document.addEventListener("keydown", key, true);
  window.addEventListener("scroll", place, { capture: true, passive: true });
  window.addEventListener("resize", place);
}

/** A term with a dotted underline; `label` replaces its name. A key that is not in the glossary stays plain text. */
export function term(key, label) {
  const entry = glossary[key];
  const text = label ?? entry?.name ?? key;
  if (!entry) return el("span", {}, text);
  return el("span", { class: "da-term", "data-term": key, tabindex: 0, role: "button" }, text);
}

/** Text in which {key} or {key|label} stands for a term, as a list of nodes. */
export function withTerms(text) {
  return text.split(/(\{[^}]+\})/).map((part) => {
    if (!part.startsWith("{")) return part;
    const [key, label] = part.slice(1, -1).split("|");
    return term(key, label);
  });
}

/** Make the labels of form fields explain themselves: `map` is {element id: key}. They may come, go and be redrawn. */
export function labelFields(map) {
  const attach = () => {
    for (const [id, key] of Object.entries(map)) {
      const field = document.getElementById(id);
      const label = field?.querySelector('[data-testid="block-info"]');
      if (!label || !glossary[key]) continue;
      label.dataset.term = key;
      // The label is no stop of its own for the keyboard; the field tells a screen reader.
      field.querySelector("input, textarea")?.setAttribute("aria-description", glossary[key].text);
    }
  };
  attach();
  let asked = false;
  const observer = new MutationObserver(() => {
    if (asked) return;
    asked = true;
    setTimeout(() => {
      asked = false;
      attach();
    }, 300);
  });
  observer.observe(document.body, { childList: true, subtree: true });
}

const termAt = (node) => (node instanceof Element ? node.closest("[data-term]") : null);

function over(event) {
  if (event.pointerType === "touch") return;
  // Something has come to lie under a pointer that rests: nobody asked about it.
  if (resting?.x === event.clientX && resting?.y === event.clientY) return;
  clearTimeout(timer);
  const target = termAt(event.target);
  if (target) timer = setTimeout(() => show(target), SHOW_AFTER);
  else if (anchor && !bubble.contains(event.target)) timer = setTimeout(hideUnlessFocused, HIDE_AFTER);
}

function click(event) {
  const target = termAt(event.target);
  // A tap on a field's label would go on to the field, and hide what it asked for.
  if (target?.closest("label") && event.pointerType === "touch") event.preventDefault();
  if (target) show(target);
  else if (!bubble.contains(event.target)) hide();
}

function key(event) {
  if (event.key === "Escape" && anchor) {
    // A tip that only the pointer's place called up must not take the key from the dialog around it.
    if (anchor === document.activeElement) {
      event.preventDefault();
      event.stopPropagation();
    }
    hide();
  } else if ((event.key === "Enter" || event.key === " ") && event.target.matches?.(".da-term")) {
    event.preventDefault();
    event.stopPropagation();
    if (anchor === event.target) hide();
    else show(event.target);
  }
}

function show(target) {
  clearTimeout(timer);
  const entry = glossary[target.dataset.term];
  if (!entry || !target.isConnected) return;
  if (anchor && anchor !== target) anchor.removeAttribute("aria-describedby");
  anchor = target;
  bubble.replaceChildren(
    el("strong", {}, entry.name),
    el("p", {}, entry.text),
    entry.formula ? el("code", {}, entry.formula) : "",
    entry.source ? el("small", {}, entry.source) : "",
  );
  // A modal dialog covers whatever is not inside it.
  const home = target.closest("dialog") ?? document.body;
  if (bubble.parentNode !== home) home.append(bubble);
  bubble.hidden = false;
  target.setAttribute("aria-describedby", BUBBLE);
  clearInterval(watch);
  watch = setInterval(place, 400);
  place();
}

function hide() {
  clearTimeout(timer);
  clearInterval(watch);
  anchor?.removeAttribute("aria-describedby");
  anchor = null;
  if (!bubble) return;
  bubble.hidden = true;
  // Its dialog may go away, and it must not go with it.
  if (bubble.parentNode !== document.body) document.body.append(bubble);
}

function hideUnlessFocused() {
  if (anchor && anchor === document.activeElement && anchor.matches(":focus-visible")) show(anchor);
  else hide();
}

// Below the term, or above it where there is no room; never over the edge of the window.
function place() {
  if (!anchor) return;
  const box = anchor.getBoundingClientRect();
  const away = box.bottom < 0 || box.top > window.innerHeight || (box.width === 0 && box.height === 0);
  if (!anchor.isConnected || away) return hide();
  const { offsetWidth: width, offsetHeight: height } = bubble;
  const right = document.documentElement.clientWidth - width - GAP;
  const below = box.bottom + GAP;
  const top = below + height > window.innerHeight && box.top > height + GAP ? box.top - height - GAP : below;
  bubble.style.left = `${Math.max(GAP, Math.min(right, box.left))}px`;
  bubble.style.top = `${top}px`;
}
