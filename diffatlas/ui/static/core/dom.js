// Building elements, and what the page looks like. Text goes in as text nodes only: prompts are untrusted.

/** Create an element with attributes and children; strings become text nodes, null is left out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in the SVG namespace. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Whether the visitor asked for less motion. */
export function reducedMotion() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Whether the page is dark. */
export function isDark() {
  return document.body.classList.contains("dark");
}

/** Call `act()` whenever the page has become dark or light. */
export function onTheme(act) {
  new MutationObserver(() => act()).observe(document.body, { attributeFilter: ["class"] });
}

/** Put a value into a field, as if it had been typed. */
export function setInput(input, value) {
  const prototype = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
  Object.getOwnPropertyDescriptor(prototype, "value").set.call(input, value);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Call `act(element)` as soon as there is one: the forms can come after the views. */
export function whenThere(selector, act) {
  const found = document.querySelector(selector);
  if (found) return act(found);
  const watch = new MutationObserver(() => {
    const node = document.querySelector(selector);
    if (!node) return;
    watch.disconnect();
    act(node);
  });
  return watch.observe(document.body, { childList: true, subtree: true });
}
