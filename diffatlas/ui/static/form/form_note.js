// What the form asks beside the run in view: where they differ, and what of the run no form can ask.

import { el } from "../core/dom.js";

const MOST = 3; // differences that are named
const number = (text) => ((text ?? "") === "" ? "" : Number(text));
const spaceless = (text) => String(text ?? "").replaceAll(" ", "");
const trimmed = (text) => String(text ?? "").trim();
// how the values of a field are compared, by its name in a link, or else by its kind
const READ = {
  backend: (text) => text || "local",
  images: (text) => Number(text ?? 1) || 1,
  "a whole number": number,
  "a number": number,
  "width and height": (text) => spaceless(text).toLowerCase().replace("×", "x").replace("★", ""),
  "numbers by name": spaceless,
  noise: spaceless,
};
// what is called otherwise in a sentence than in a table
const CALLED = { guidance_options: "options of the method", images: "number of images" };

/** Where a form's values differ from what a run was asked, as words. `request`: the fields; `schedulers`: the models' own, by id. */
function differences(request, query, values, schedulers) {
  const found = [];
  for (const { name, called, kind, short } of request) {
    const [label, read] = [CALLED[name] ?? called, READ[name] ?? READ[kind] ?? trimmed];
    const own = name === "scheduler" && !values.scheduler;
    const known = (values.backend || "local") === "local" ? schedulers[values.model] : null;
    if (own && !known) continue;
    const asked = own ? known : values[name];
    if (name === "size" && !query.size) continue;
    if (read(asked) === read(query[name])) continue;
    found.push(short && query[name] !== undefined ? `${label} ${trimmed(asked) || "none"}, not ${query[name]}` : `another ${label}`);
  }
  return found;
}

/** Create the line. `form` is the prefix of the form's ids, `request` the fields of a request; `onFill(id)` puts a run's settings
 * into the form. */
export function createFormNote(form, { request, schedulers = {}, onFill }) {
  const text = el("span", {});
  const button = el("button", { type: "button", class: "da-plain", onclick: () => run && onFill(run.id) }, "Use this run’s settings");
  const node = el("p", { class: "da-form-note", hidden: "" }, text, " ", button);
  let run = null;

  function draw() {
    const values = window.diffatlasForms?.[form];
    const other = run && values ? differences(request, run.query ?? {}, values, schedulers) : [];
    const beyond = run?.beyond ?? [];
    const named = other.slice(0, MOST).join("; ");
    const more = other.length > MOST ? `; and ${other.length - MOST} more` : "";
    const parts = [];
    if (other.length) parts.push(`The form asks for another run than this one: ${named}${more}.`);
    if (beyond.length) parts.push(`This run has what the form cannot ask: ${beyond.join("; ")}. Run would make another one.`);
    node.hidden = !parts.length;
    button.hidden = !other.length;
    if (text.textContent !== parts.join(" ")) text.textContent = parts.join(" ");
  }

  window.addEventListener("diffatlas-form", (event) => event.detail === form && draw());
  return {
    node,
    /** next: the run in view, {id, query, beyond}, or null. */
    update(next) {
      run = next;
      draw();
    },
  };
}
