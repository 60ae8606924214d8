// A run's own marks, edited where they stand: tags and note. Each change is saved by itself.

import { el } from "../core/dom.js";

const MOST_TAGS = 20;
const MOST_TAG = 40;
const MOST_NOTE = 10_000;
const PAUSE = 900; // ms of no typing before a note is saved

let numbered = 0;

/** Create the tags. `onChange(tags)` is a promise of the tags as saved. `known()` are tags to choose from. */
export function createTags({ onChange, known }) {
  const id = `da-known-tags-${++numbered}`;
  const list = el("ul", { class: "da-tags da-tags-edit" });
  const choices = el("datalist", { id });
  const input = el("input", { type: "text", class: "da-input da-tag-input", list: id, maxlength: MOST_TAG, placeholder: "Add a tag", "aria-label": "Add a tag", autocomplete: "off" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const root = el("div", { class: "da-mark-tags" }, list, input, choices, problem);
  let tags = [];

  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && input.value) {
      event.preventDefault();
      input.value = "";
    } else if (event.key === "Enter" || event.key === ",") {
      event.preventDefault();
      add();
    }
  });
  input.addEventListener("change", add);
  input.addEventListener("focus", () => choices.replaceChildren(...known().filter((tag) => !tags.includes(tag)).map((tag) => el("option", { value: tag }))));

  function add() {
    const tag = input.value.replaceAll(",", " ").trim();
    if (!tag) return;
    if (tags.length >= MOST_TAGS && !tags.includes(tag)) return say(`A run has at most ${MOST_TAGS} tags.`);
    input.value = "";
    if (!tags.includes(tag)) save([...tags, tag]);
  }

  function remove(tag) {
    save(tags.filter((each) => each !== tag));
    input.focus();
  }

  async function save(next) {
    const before = tags;
    say("");
    show(next);
    try {
      await onChange(next);
    } catch (error) {
      if (tags === next) show(before);
      say(error.message);
    }
  }

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function show(next) {
    tags = next;
    list.replaceChildren(
      ...tags.map((tag) =>
        el("li", { class: "da-tag" }, el("span", { dir: "auto" }, tag), el("button", { type: "button", class: "da-tag-remove", "aria-label": `Remove the tag ${tag}`, title: "Remove", onclick: () => remove(tag) }, "×")),
      ),
    );
    list.hidden = !tags.length;
  }

  return {
    root,
    /** The tags with one that is typed and not added yet; null where there is none. */
    unsaved() {
      const typed = input.value.replaceAll(",", " ").trim();
      return typed && tags.length < MOST_TAGS && !tags.includes(typed) ? [...tags, typed] : null;
    },
    show(next) {
      say("");
      if (next.join("\n") !== tags.join("\n")) show([...next]);
    },
  };
}

/** Create the note. `onChange(note)` is a promise. `flush()` saves what has not been saved yet, `unsaved()` is that or null. */
export function createNote({ onChange }) {
  const area = el("textarea", { class: "da-input da-note", rows: 4, maxlength: MOST_NOTE, placeholder: "What you saw, for later.", "aria-label": "Note", dir: "auto" });
  const said = el("p", { class: "da-note-said", role: "status" });
  const root = el("div", {}, area, said);
  let saved = "";
  let shown = 0; // counts runs: what comes back late belongs to another
  let timer = 0;

  area.addEventListener("input", () => {
    said.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(flush, PAUSE);
  });
  area.addEventListener("blur", flush);

  async function flush() {
    clearTimeout(timer);
    const text = area.value;
    if (text === saved) return;
    const before = saved;
    const mine = shown;
    saved = text;
    try {
      await onChange(text);
      if (mine !== shown) return;
      if (area.value === text) said.textContent = "Saved";
      said.classList.remove("da-problem");
    } catch (error) {
      if (mine !== shown) return;
      if (saved === text) saved = before;
      said.textContent = error.message;
      said.classList.add("da-problem");
    }
  }

  return {
    root,
    flush,
    unsaved: () => (area.value === saved ? null : area.value),
    show(text) {
      clearTimeout(timer);
      shown += 1;
      said.classList.remove("da-problem");
      saved = text;
      area.value = text;
      said.textContent = "";
    },
  };
}
