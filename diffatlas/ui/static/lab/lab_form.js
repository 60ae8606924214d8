// Fields of the 2D Lab's forms: a value each, kept by name, with a message where it is wrong.

import { el } from "../core/dom.js";

/**
 * Create fields from `specs`, {name: {label, kind, options, min, max, step, value, title, wide}}; kind is "select",
 * "number", "range" or "check". `onChange(values, name)` is called when one has changed.
 */
export function createFields(specs, onChange) {
  const controls = {};
  const nodes = {};
  const problems = {};
  for (const [name, spec] of Object.entries(specs)) {
    const control = make(name, spec);
    const problem = el("span", { class: "da-field-problem", role: "alert", hidden: "" });
    const read = spec.kind === "range" ? el("output", {}, "") : null;
    controls[name] = { control, spec, read };
    problems[name] = problem;
    nodes[name] = el("label", { class: `da-lab-field da-lab-field-${spec.kind}${spec.wide ? " da-wide" : ""}`, title: spec.title ?? null }, ...(spec.kind === "check" ? [control, el("span", {}, spec.label)] : [el("span", {}, spec.label, read ? " " : null, read), control]), problem);
    set(name, spec.value);
    control.addEventListener(spec.kind === "range" ? "input" : "change", () => {
      tell(name);
      clear();
      onChange(values(), name);
    });
  }

  function make(name, { label, kind, options, min, max, step }) {
    const named = { name, "aria-label": label };
    if (kind === "select") return el("select", { class: "da-select", ...named }, ...options.map(([value, text]) => el("option", { value }, text)));
    if (kind === "check") return el("input", { type: "checkbox", ...named });
    return el("input", { type: kind, ...named, min, max, step: step ?? "any", class: kind === "number" ? "da-input" : "da-slider" });
  }

  function tell(name) {
    const { control, read, spec } = controls[name];
    if (read) read.textContent = spec.shown ? spec.shown(Number(control.value)) : control.value;
  }

  function set(name, value) {
    const { control, spec } = controls[name];
    if (spec.kind === "check") control.checked = Boolean(value);
    else control.value = value;
    tell(name);
  }

  function values() {
    return Object.fromEntries(
      Object.entries(controls).map(([name, { control, spec }]) => [name, spec.kind === "check" ? control.checked : spec.kind === "select" ? control.value : control.value === "" ? null : Number(control.value)]),
    );
  }

  /** Show a message at the field that is at fault; false where none of these is. */
  function blame(field, message) {
    clear();
    if (!problems[field]) return false;
    problems[field].textContent = message;
    problems[field].hidden = false;
    nodes[field].closest("details")?.setAttribute("open", "");
    return true;
  }

  function clear() {
    for (const problem of Object.values(problems)) problem.hidden = true;
  }

  /** Other options for a select; its value stays where it can. */
  function offer(name, options) {
    const { control } = controls[name];
    const before = control.value;
    control.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
    control.value = options.some(([value]) => String(value) === before) ? before : options[0][0];
  }

  return { nodes, values, set, blame, clear, offer, focus: (name) => controls[name].control.focus() };
}
