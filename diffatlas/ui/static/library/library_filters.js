// What is looked for in the Library: text, model, status, tag, lock, attention, dates, order; and grid or list.

import { el } from "../core/dom.js";
import { plural, statusText } from "../runs/library_text.js";

const PAUSE = 200; // ms of no typing before it is asked
const STATUSES = ["complete", "stopped", "failed", "running", "partial", "damaged"];
const KINDS = [["trace", "trajectory"], ["sweep", "sweep"], ["neighbourhood", "neighbourhood"]];
const ATTENTION = [["captured", "captured"], ["cross", "of words"], ["self", "of places"], ["none", "none"]];
const SORTS = [
  ["created", true, "Newest first"],
  ["created", false, "Oldest first"],
  ["used", true, "Last used first"],
  ["name", false, "By name"],
  ["prompt", false, "By prompt"],
  ["model", false, "By model"],
  ["seed", false, "By seed"],
  ["steps", true, "Most steps first"],
  ["bytes", true, "Largest first"],
];

/** Create the filters in `root`. `onChange()` is called when another query holds; `onView(view)` for grid or list. */
export function createFilters(root, { onChange, onView, modelName }) {
  const text = el("input", { type: "search", class: "da-input da-search", placeholder: "Search prompts, names, notes, tags", "aria-label": "Search the Library", maxlength: 200, autocomplete: "off", spellcheck: "false" });
  const model = select("da-filter-model", [["", "any"]]);
  const kind = select("da-filter-kind", [["", "any"], ...KINDS]);
  const status = select("da-filter-status", [["", "any"], ...STATUSES.map((name) => [name, statusText(name)])]);
  const tag = select("da-filter-tag", [["", "any"]]);
  const locked = select("da-filter-locked", [["", "any"], ["yes", "locked"], ["no", "not locked"]]);
  const attention = select("da-filter-attention", [["", "any"], ...ATTENTION]);
  const sort = select("da-sort", SORTS.map(([, , label], at) => [String(at), label]));
  const since = el("input", { type: "date", class: "da-input da-since" });
  const until = el("input", { type: "date", class: "da-input da-until" });
  const clearing = el("button", { type: "button", class: "da-plain da-clear", hidden: "", onclick: clear }, "Clear filters");
  const views = ["grid", "list"].map((view) =>
    el("button", { type: "button", class: "da-button da-view", "data-view": view, onclick: () => onView(view) }, view === "grid" ? "Grid" : "List"),
  );
  const more = el(
    "div",
    { class: "da-filters", id: "da-filters" },
    field("Model", model),
    field("Made by", kind),
    field("Status", status),
    field("Tag", tag),
    field("Lock", locked),
    field("Attention", attention),
    field("From", since),
    field("To", until),
    clearing,
  );
  const unfold = el("button", { type: "button", class: "da-button da-unfold", "aria-expanded": "false", "aria-controls": "da-filters" }, "Filters");
  unfold.addEventListener("click", () => {
    const open = more.classList.toggle("da-open");
    unfold.setAttribute("aria-expanded", String(open));
  });
  root.append(
    el(
      "div",
      { class: "da-search-row", role: "search" },
      text,
      unfold,
      el("label", { class: "da-field da-sort-field" }, el("span", {}, "Sort"), sort),
      el("div", { class: "da-views", role: "group", "aria-label": "Show as" }, ...views),
    ),
    more,
  );

  let timer = 0;
  let asked = JSON.stringify(query());
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(changed, PAUSE);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    clearTimeout(timer);
    changed();
  });
  for (const control of [model, kind, status, tag, locked, attention, sort, since, until]) control.addEventListener("change", changed);

  function changed() {
    const next = JSON.stringify(query());
    if (next === asked) return;
    asked = next;
    show();
    onChange();
  }

  function show() {
    const count = narrowed();
    clearing.hidden = !count && !text.value;
    clearing.textContent = count ? `Clear ${plural(count, "filter")}${text.value ? " and the search" : ""}` : "Clear the search";
    unfold.textContent = count ? `Filters (${count})` : "Filters";
  }

  const narrowed = () => [model, kind, status, tag, locked, attention, since, until].filter((control) => control.value).length;

  /** What `find` is asked, but for limit and offset. */
  function query() {
    const [by, descending] = SORTS[Number(sort.value)];
    return {
      text: text.value.trim(),
      model: model.value || null,
      kind: kind.value || null,
      status: status.value || null,
      tag: tag.value || null,
      since: moment(since.value, 0),
      until: moment(until.value, 1),
      locked: { yes: true, no: false }[locked.value] ?? null,
      attention: { captured: true, none: false }[attention.value] ?? (attention.value || null),
      sort: by,
      descending,
    };
  }

  function clear() {
    for (const control of [text, model, kind, status, tag, locked, attention, since, until]) control.value = "";
    clearTimeout(timer);
    text.focus();
    changed();
  }

  /** Take the models and tags that there are; one that is chosen stays even if it is gone. */
  function update({ models, tags, view }) {
    offer(model, models.map((id) => [id, modelName(id)]));
    offer(tag, tags.map((name) => [name, name]));
    for (const button of views) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    show();
  }

  return { query, clear, update, any: () => narrowed() > 0 || Boolean(text.value.trim()), focus: () => text.focus() };
}

function select(name, options) {
  const node = el("select", { class: `da-select ${name}` });
  fill(node, options);
  return node;
}

function fill(node, options) {
  node.replaceChildren(...options.map(([value, label]) => el("option", { value }, label)));
}

function offer(node, options) {
  const chosen = node.value;
  const kept = chosen && !options.some(([value]) => value === chosen) ? [[chosen, chosen]] : [];
  const next = [["", "any"], ...options, ...kept];
  const key = JSON.stringify(next);
  if (node.dataset.offered === key) return;
  node.dataset.offered = key;
  fill(node, next);
  node.value = chosen;
}

function field(label, control) {
  return el("label", { class: "da-field" }, el("span", {}, label), control);
}

// The start of a day of the visitor's, or of the day `later`, in UTC; the end is the last moment before it.
function moment(day, later) {
  const [year, month, date] = day.split("-").map(Number);
  if (!date) return null;
  const time = new Date(year, month - 1, date + later).getTime() - later;
  return Number.isFinite(time) ? new Date(time).toISOString().replace("Z", "+00:00") : null;
}
