// Adding a task to a pack without writing YAML: what is filled in goes through the reader of the text.

import { el } from "../core/dom.js";

const KINDS = [["objects", "Objects that must be there or not"], ["questions", "Questions with expected answers"], ["free", "Nothing: judged by hand"]];
const HOW = [["at least", "at least"], ["exactly", "exactly"], ["none", "no"]];
const RELATIONS = ["left of", "right of", "above", "below"];
const COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"];

/** Create the form. `onAdd(task)` is a promise that rejects with an Error whose `field` is the field at fault. */
export function createTaskForm({ onAdd }) {
  const prompt = el("textarea", { class: "da-input", rows: 2, "data-field": "prompt", placeholder: "a photo of two red cups" });
  const known = el("datalist", { id: "da-pack-known-tags" });
  const tag = el("input", { type: "text", class: "da-input", "data-field": "tag", list: known.id, placeholder: "counting" });
  const kind = el("select", { class: "da-select", "data-field": "kind", onchange: () => turn() }, ...KINDS.map(([value, text]) => el("option", { value }, text)));
  const colours = el("datalist", { id: "da-pack-colours" }, ...COLOURS.map((value) => el("option", { value })));
  const objects = createRows("Add an object", () => objectRow(colours.id));
  const questions = createRows("Add a question", questionRow);
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const add = el("button", { type: "submit", class: "da-button" }, "Add to the text");
  const field = (label, input, ...more) => el("label", { class: "da-pack-labelled" }, el("span", {}, label), input, ...more);
  const node = el(
    "form",
    { class: "da-pack-form", onsubmit: submit, novalidate: "" },
    field("Prompt", prompt),
    el("div", { class: "da-pack-two" }, field("Category", tag, known), field("The image is judged by", kind)),
    objects.node,
    questions.node,
    colours,
    problem,
    add,
  );
  turn();

  function turn() {
    objects.node.hidden = kind.value !== "objects";
    questions.node.hidden = kind.value !== "questions";
  }

  async function submit(event) {
    event.preventDefault();
    add.disabled = true;
    complain(null);
    try {
      await onAdd({ prompt: prompt.value, tag: tag.value, kind: kind.value, objects: kind.value === "objects" ? objects.values() : [], questions: kind.value === "questions" ? questions.values() : [] });
      prompt.value = "";
      objects.clear();
      questions.clear();
      prompt.focus({ preventScroll: true });
    } catch (error) {
      complain(error);
    }
    add.disabled = false;
  }

  function complain(error) {
    for (const each of node.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
    problem.hidden = !error;
    problem.textContent = error?.message ?? "";
    const wrong = error?.field && fieldOf(error.field);
    wrong?.setAttribute("aria-invalid", "true");
    wrong?.focus({ preventScroll: true });
  }

  // "prompt", or "objects[2].noun": the field of that name in the row of that number.
  function fieldOf(name) {
    const [, list, at, part] = /^(objects|questions)\[(\d+)\]\.?(\w*)/.exec(name) ?? [];
    if (!list) return node.querySelector(`[data-field="${CSS.escape(name)}"]`);
    return (list === "objects" ? objects : questions).row(Number(at))?.querySelector(`[data-field="${CSS.escape(part)}"]`);
  }

  /** Offer the categories that the pack has. */
  function update(tags) {
    known.replaceChildren(...tags.map((value) => el("option", { value })));
  }

  return { node, update };
}

// Rows of fields of one kind, each with a number; the first is there from the beginning.
function createRows(label, create) {
  const list = el("ol", { class: "da-pack-rows" });
  const more = el("button", { type: "button", class: "da-plain", onclick: () => put().node.querySelector("input").focus() }, label);
  const node = el("div", { class: "da-pack-list" }, list, more);
  let rows = [];

  function put() {
    const row = create();
    const remove = el("button", { type: "button", class: "da-plain", onclick: () => drop(row) }, "Remove");
    row.node.append(remove);
    rows.push(row);
    list.append(row.node);
    number();
    return row;
  }

  function drop(row) {
    rows = rows.filter((one) => one !== row);
    row.node.remove();
    if (!rows.length) put();
    number();
  }

  function number() {
    rows.forEach((row, at) => row.number(at + 1));
  }

  put();
  return {
    node,
    row: (at) => rows[at]?.node,
    values: () => rows.map((row) => row.value()),
    clear() {
      for (const row of rows) row.node.remove();
      rows = [];
      put();
    },
  };
}

function objectRow(colours) {
  const how = el("select", { class: "da-select", "aria-label": "How many", onchange: () => turn() }, ...HOW.map(([value, text]) => el("option", { value }, text)));
  const count = el("input", { type: "number", class: "da-input", "data-field": "count", min: 1, max: 16, value: 1, "aria-label": "Number" });
  const color = el("input", { type: "text", class: "da-input", "data-field": "color", list: colours, placeholder: "any colour", "aria-label": "Colour" });
  const noun = el("input", { type: "text", class: "da-input", "data-field": "noun", placeholder: "cup", "aria-label": "What" });
  const relation = el("select", { class: "da-select", "data-field": "position", "aria-label": "Where", onchange: () => turn() }, el("option", { value: "" }, "anywhere"), ...RELATIONS.map((value) => el("option", { value }, value)));
  const to = el("input", { type: "number", class: "da-input", "data-field": "to", min: 1, value: 1, "aria-label": "Of the object with the number" });
  const toField = el("label", { class: "da-pack-to" }, el("span", {}, "object"), to);
  const node = el("li", { class: "da-pack-row" }, how, count, color, noun, relation, toField);

  function turn() {
    const none = how.value === "none";
    count.hidden = relation.hidden = none;
    toField.hidden = none || !relation.value;
  }

  turn();
  return {
    node,
    number: (at) => node.setAttribute("aria-label", `Object ${at}`),
    value: () => ({ how: how.value, noun: noun.value, color: color.value, count: how.value === "none" ? null : whole(count), relation: how.value === "none" ? "" : relation.value, to: relation.value ? whole(to) : null }),
  };
}

function questionRow() {
  const text = el("input", { type: "text", class: "da-input da-pack-question", "data-field": "text", placeholder: "Is there a cup?", "aria-label": "Question" });
  const expected = el("input", { type: "text", class: "da-input", "data-field": "expected", value: "yes", "aria-label": "The right answer" });
  const after = el("input", { type: "text", class: "da-input", "data-field": "parents", placeholder: "after, as 1, 2", "aria-label": "Numbers of the questions that come before it" });
  const node = el("li", { class: "da-pack-row" }, text, expected, after);
  return {
    node,
    number: (at) => node.setAttribute("aria-label", `Question ${at}`),
    value: () => ({ text: text.value, expected: expected.value, after: (after.value.match(/\d+/g) ?? []).map(Number) }),
  };
}

// The number that was typed; one that none can be where nothing was.
const whole = (input) => (Number.isInteger(input.valueAsNumber) ? input.valueAsNumber : 0);
