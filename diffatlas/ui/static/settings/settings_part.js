// What the parts of the Settings page are made of.

import { el } from "../core/dom.js";

let numbered = 0;

/** A part with a heading; `body` is filled by the caller, and `say(text)` shows what went wrong, or nothing. */
export function createPart(title, ...body) {
  const id = `da-settings-part-${++numbered}`;
  const problem = el("p", { class: "da-settings-problem", role: "alert", hidden: true });
  const node = el("section", { class: "da-settings-part", "aria-labelledby": id }, el("h2", { id }, title), ...body, problem);
  const say = (text = "") => {
    problem.textContent = text;
    problem.hidden = !text;
  };
  return { node, say };
}

/** A label above its field. */
export function labelled(label, field, hint = null) {
  return el("label", { class: "da-settings-field" }, el("span", {}, label), field, hint);
}

/** A list of names and values, in rows; a value may be an element. */
export function rows(pairs) {
  const drawn = pairs.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  return el("dl", { class: "da-settings-rows" }, ...drawn);
}
