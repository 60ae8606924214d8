// A line at the foot of the page that goes away by itself, with at most one thing to do about it.

import { el } from "./dom.js";

const STAYS = 10_000; // ms

let place = null;
let current = null;

/** Say `text`; `act`, if given, is {label, run}. `focus` puts the keyboard on the act. Returns a function that ends it. */
export function toast(text, { act = null, focus = false } = {}) {
  place ??= document.body.appendChild(el("div", { class: "da-toasts" }));
  current?.();
  let timer = 0;
  const said = el("p", { role: "status" }, text);
  const close = () => {
    clearTimeout(timer);
    node.remove();
    if (current === close) current = null;
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(close, STAYS);
  };
  const button = act && el("button", { type: "button", class: "da-toast-act" }, act.label);
  button?.addEventListener("click", () => {
    close();
    act.run();
  });
  const dismiss = el("button", { type: "button", class: "da-toast-close", onclick: () => close() }, "Close");
  const node = el("div", { class: "da-toast" }, said, button, dismiss);
  // Whoever is reading it, or on it with the keyboard, keeps it.
  node.addEventListener("pointerenter", () => clearTimeout(timer));
  node.addEventListener("pointerleave", wait);
  node.addEventListener("focusin", () => clearTimeout(timer));
  node.addEventListener("focusout", wait);
  current = close;
  place.append(node);
  wait();
  if (focus) button?.focus();
  return close;
}
