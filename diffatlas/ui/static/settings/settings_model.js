// Where models run, which one, and what the forms of all pages begin with.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { currentPage } from "../core/pages.js";
import { askEverywhere, formsAsk } from "../form/carry.js";
import { createPart, labelled } from "./settings_part.js";

const OTHER = "\u0000other"; // no model is called so
// What was chosen for another model is taken back.
const PLAIN = { scheduler: "", guidance_method: "", guidance_options: "" };

export function createModel(server) {
  let places = [];
  let told = null; // what the server says of the model that is chosen
  let ticket = 0;
  let touched = false; // whether somebody has chosen here; until then it is what the forms ask
  const backend = el("select", { "aria-label": "Where models run", onchange: () => chosen(() => turn()) });
  const model = el("select", { onchange: () => chosen(() => (model.value === OTHER ? other(true) : choose(model.value))) });
  const typed = el("input", { type: "text", spellcheck: "false", autocomplete: "off", onchange: () => chosen(() => typed.value.trim() && choose(typed.value.trim())) });
  const typedField = labelled("Id of another model", typed);
  const notes = el("p", { class: "da-settings-note da-model-notes" });
  const steps = numberField("Steps", 1);
  const guidance = numberField("Guidance", 0.5);
  const size = textField("Size");
  const warnings = el("ul", { class: "da-settings-warnings", "aria-live": "polite" });
  const use = el("button", { type: "button", class: "da-button da-first", onclick: () => put() }, "Begin all pages with this");
  const done = el("p", { class: "da-settings-note", role: "status" });
  const numbers = el("div", { class: "da-settings-three" }, steps.node, guidance.node, size.node);
  const { node, say } = createPart("Backend and model", labelled("Where it runs", backend), labelled("Model", model), typedField, notes, numbers, warnings, use, done);
  typedField.hidden = true;

  async function look() {
    try {
      if (!places.length) await list();
      follow();
    } catch (error) {
      say(error.message);
    }
  }

  async function list() {
    const before = backend.value;
    ({ backends: places } = await ask(server, "settings_places", {}));
    backend.replaceChildren(...places.map(({ id, name }) => el("option", { value: id }, name)));
    if (!places.some(({ id }) => id === before)) return before && turn();
    backend.value = before;
    // It has said what it offers since its models were drawn.
    if (told?.backend === before && model.options.length === 1 && place().models.length) turn(told.model);
  }

  /** Show what the forms ask for, as long as nobody has chosen here. */
  function follow() {
    const { backend: asks = "", model: wanted = null } = window.diffatlasForms?.field ?? {};
    if (touched || !places.length || currentPage() !== "settings" || (told && told.model === wanted)) return;
    backend.value = places.some(({ id }) => id === asks) ? asks : places[0].id;
    turn(wanted);
  }

  function chosen(act) {
    touched = true;
    act();
  }

  /** The provider has changed: its first model, or `wanted`. */
  function turn(wanted = null) {
    const { models } = place();
    const options = models.map(({ id, name }) => el("option", { value: id }, name));
    model.replaceChildren(...options, el("option", { value: OTHER }, "Another model…"));
    const listed = models.some(({ id }) => id === wanted);
    if (!wanted && !models.length) {
      // It says what it offers once it is chosen.
      choose("").then(list).catch((error) => say(error.message));
      return;
    }
    if (wanted && !listed) {
      other(false);
      typed.value = wanted ?? "";
      if (wanted) choose(wanted);
      return;
    }
    model.value = listed ? wanted : models[0].id;
    choose(model.value);
  }

  const place = () => places.find(({ id }) => id === backend.value);

  function other(focus) {
    model.value = OTHER;
    typedField.hidden = false;
    told = null;
    use.disabled = true;
    if (focus) typed.focus();
  }

  async function choose(id) {
    const mine = ++ticket;
    typedField.hidden = model.value !== OTHER;
    use.disabled = true;
    done.textContent = "";
    notes.textContent = "Looking it up…";
    try {
      const found = await ask(server, "settings_model", { backend: backend.value, model: id });
      if (mine === ticket) draw(found);
    } catch (error) {
      if (mine !== ticket) return;
      told = null;
      notes.textContent = "";
      say(error.message);
    }
  }

  function draw(found) {
    told = found;
    say();
    notes.textContent = found.notes;
    steps.draw(found.taken.includes("steps"), found.steps, found.steps_range);
    guidance.draw(found.taken.includes("guidance"), found.guidance, found.guidance_range);
    size.draw(found.taken.includes("size"), found.size, found.sides);
    warnings.replaceChildren(...found.warnings.map((text) => el("li", {}, text)));
    use.disabled = false;
  }

  function put() {
    const asked = { backend: told.backend, model: told.model, steps: steps.read(), guidance: guidance.read(), size: size.read() };
    const given = { ...PLAIN, ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null)) };
    const problem = steps.problem() ?? guidance.problem();
    if (problem) return say(problem);
    if (told.backend !== "local" && !formsAsk("backend")) return say("The forms of this version run on this machine alone.");
    say();
    done.textContent = askEverywhere(given) ? "The forms of all pages have this now, and keep it in this tab." : "The forms are not there yet: try again in a moment.";
    window.dispatchEvent(new Event("diffatlas-status"));
    return undefined;
  }

  window.addEventListener("diffatlas-form", ({ detail }) => detail === "field" && follow());
  window.addEventListener("diffatlas-places", () => places.length && list().catch((error) => say(error.message)));
  return { node, look };
}

function numberField(label, step) {
  const input = el("input", { type: "number", step });
  const hint = el("small", {});
  let range = null;
  const words = () => `${label} ${range ? `from ${range[0]} to ${range[1]}` : ""}`;

  function draw(taken, value, next) {
    range = next;
    input.disabled = !taken;
    input.value = value ?? "";
    if (range) [input.min, input.max] = range;
    else ["min", "max"].forEach((name) => input.removeAttribute(name));
    hint.textContent = !taken ? "Not taken." : range ? `${range[0]} to ${range[1]}` : "";
  }

  const read = () => (input.value === "" ? null : Number(input.value));
  const problem = () => (read() !== null && range && (read() < range[0] || read() > range[1]) ? `${words()}, not ${read()}.` : null);
  return { node: labelled(label, input, hint), draw, read, problem };
}

function textField(label) {
  const input = el("input", { type: "text", spellcheck: "false" });
  const hint = el("small", {});

  function draw(taken, value, words) {
    input.disabled = !taken;
    input.value = taken ? (value ?? "") : "";
    hint.textContent = words ?? (taken ? "width x height" : "Not taken.");
  }

  return { node: labelled(label, input, hint), draw, read: () => input.value.trim() || null };
}
