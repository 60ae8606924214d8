// The Trash of the Library: what was deleted, when, and until when it can be brought back.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { bytesText, plural, whenText } from "../runs/library_text.js";
import { createSure } from "../core/sure.js";
import { toast } from "../core/toast.js";

const PAGE = 100;
const MOST = 500; // what one answer of the server holds

/** Create the Trash in `root`. `onChange()` is told when the Library has something back, `onClose()` to leave it. */
export function createTrash(root, { server, onChange, onClose }) {
  const button = (name, text, onclick) => el("button", { type: "button", class: `da-button da-trash-${name}`, onclick }, text);
  const title = el("h3", { class: "da-trash-title", tabindex: -1 }, "Trash");
  const holds = el("p", { class: "da-usage da-trash-holds", role: "status" });
  const back = button("back", "Back to the Library", () => onClose());
  const until = el("p", { class: "da-caption" });
  const all = el("input", { type: "checkbox", class: "da-check", onchange: () => pickAll(all.checked) });
  const picking = el("label", { class: "da-trash-all" }, all, el("span", {}, "Select all"));
  const restoring = button("restore", "Restore", () => restore(chosen()));
  const deleting = button("forget", "Delete for good", () => forget(chosen()));
  const emptying = button("empty", "Empty the Trash", empty);
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const list = el("ul", { class: "da-trash-list" });
  const more = button("more", "Show more", () => refresh(Math.min(MOST, items.length + PAGE)));
  const acts = el("div", { class: "da-trash-acts" }, picking, restoring, deleting, emptying);
  root.append(el("div", { class: "da-library-head" }, title, holds, back), until, acts, problem, list, more);
  const sure = createSure();
  const picked = new Set(); // "run id"
  const lines = new Map();
  let items = [];
  let answer = null;
  let ticket = 0;

  const keyOf = ({ kind, id }) => `${kind} ${id}`;
  const chosen = () => items.filter((item) => picked.has(keyOf(item)));

  /** Ask anew for the first `limit` of what is in it. */
  async function refresh(limit = Math.max(PAGE, items.length)) {
    const mine = ++ticket;
    root.setAttribute("aria-busy", "true");
    try {
      const found = await ask(server, "trashed", { limit });
      if (mine !== ticket) return;
      answer = found;
      items = found.items;
      const known = new Set(items.map(keyOf));
      for (const key of picked) if (!known.has(key)) picked.delete(key);
      complain("");
    } catch (error) {
      if (mine !== ticket) return;
      complain(error.message);
    }
    root.removeAttribute("aria-busy");
    draw();
  }

  function complain(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function pickAll(on) {
    for (const item of items) picked[on ? "add" : "delete"](keyOf(item));
    draw();
  }

  async function restore(some) {
    await act("restore", some, (done) => `${whatOf(done)} restored.`);
    onChange();
  }

  async function forget(some) {
    const answered = await sure.ask({
      title: `Delete ${whatOf(some)} for good?`,
      text: `${some.length === 1 ? "It takes" : "They take"} ${bytesText(bytesOf(some))}, which will be free. What is deleted for good cannot be brought back.`,
      yes: "Delete for good",
    });
    if (answered) await act("forget", some, (done) => `${whatOf(done)} deleted for good; ${bytesText(bytesOf(done))} are free.`);
  }

  async function empty() {
    const { total, bytes } = answer;
    const answered = await sure.ask({
      title: `Delete all ${total.toLocaleString("en-GB")} for good?`,
      text: `The Trash holds ${countOf(items, total)} of ${bytesText(bytes)}, which will be free. What is deleted for good cannot be brought back.`,
      yes: `Delete all ${total.toLocaleString("en-GB")}`,
    });
    if (!answered) return;
    try {
      await ask(server, "empty_trash", { count: total });
      toast(`The Trash is empty; ${bytesText(bytes)} are free.`);
    } catch (error) {
      toast(error.message);
    }
    await refresh(PAGE);
    title.focus({ preventScroll: true });
    onChange();
  }

  async function act(name, some, words) {
    const of = (kind) => some.filter((item) => item.kind === kind).map((item) => item.id);
    try {
      const { done, refused } = await ask(server, name, { ids: of("run"), studies: of("study"), benches: of("bench") });
      const went = new Set(done);
      const gone = some.filter((item) => went.has(item.id));
      toast([words(gone), refused.length ? `${plural(refused.length, "was", "were")} not: ${refused[0]}` : null].filter(Boolean).join(" "));
    } catch (error) {
      toast(error.message);
    }
    // The line under the keyboard is gone.
    title.focus({ preventScroll: true });
    await refresh();
    if (name === "forget") onChange();
  }

  function draw() {
    const { total = 0, bytes = 0 } = answer ?? {};
    const some = chosen();
    write(holds, !answer ? "Looking…" : total ? `${countOf(items, total)}, ${bytesText(bytes)}` : "Empty");
    write(until, answer ? untilText(answer) : "");
    acts.hidden = !total;
    all.checked = items.length > 0 && some.length === items.length;
    all.indeterminate = some.length > 0 && some.length < items.length;
    restoring.disabled = deleting.disabled = !some.length;
    write(restoring, some.length > 1 ? `Restore ${some.length}` : "Restore");
    write(deleting, some.length > 1 ? `Delete ${some.length} for good` : "Delete for good");
    write(emptying, `Empty the Trash (${total.toLocaleString("en-GB")})`);
    more.hidden = items.length >= total || items.length >= MOST;
    write(more, `Show ${Math.min(PAGE, total - items.length)} more`);
    const keys = new Set(items.map(keyOf));
    for (const [key, line] of lines) {
      if (keys.has(key)) continue;
      line.node.remove();
      lines.delete(key);
    }
    items.forEach((item, at) => {
      const key = keyOf(item);
      if (!lines.has(key)) lines.set(key, createLine(item, { onPick, restore, forget }));
      const { node, update } = lines.get(key);
      update(item, picked.has(key));
      if (list.children[at] !== node) list.insertBefore(node, list.children[at] ?? null);
    });
  }

  function onPick(item, on) {
    if (on) picked.add(keyOf(item));
    else picked.delete(keyOf(item));
    draw();
  }

  /** Show it from the top. */
  function open() {
    picked.clear();
    draw();
    title.focus({ preventScroll: true });
    return refresh(PAGE);
  }

  return { open, refresh };
}

function createLine(first, { onPick, restore, forget }) {
  let item = first;
  const box = el("input", { type: "checkbox", class: "da-check", onchange: () => onPick(item, box.checked) });
  const film = el("div", { class: "da-run-film", "aria-hidden": "true" });
  const name = el("p", { class: "da-trash-name", dir: "auto" });
  const facts = el("p", { class: "da-run-facts" });
  const when = el("p", { class: "da-trash-when" });
  const back = el("button", { type: "button", class: "da-plain da-trash-one", onclick: () => restore([item]) }, "Restore");
  const gone = el("button", { type: "button", class: "da-plain da-trash-gone", onclick: () => forget([item]) }, "Delete for good");
  const node = el("li", { class: "da-trash-line", "data-id": item.id }, el("label", { class: "da-trash-pick" }, box), film, el("div", { class: "da-trash-text" }, name, facts, when), el("div", { class: "da-trash-line-acts" }, back, gone));
  let drawn = null;

  function update(next, on) {
    item = next;
    box.checked = on;
    node.classList.toggle("da-picked", on);
    const key = JSON.stringify(item);
    if (key === drawn) return;
    drawn = key;
    write(name, item.name);
    facts.replaceChildren(...item.told.map((text) => el("span", {}, text)));
    const deleted = whenText(item.deleted);
    const goes = whenText(item.goes);
    write(when, [deleted && `deleted ${deleted}`, goes && `goes ${goes}`, bytesText(item.bytes)].filter(Boolean).join(" · "));
    film.replaceChildren(el("span", { class: "da-run-shot" }, item.thumb ? el("img", { src: item.thumb, alt: "", loading: "lazy", decoding: "async" }) : el("span", {}, "no picture")));
    box.setAttribute("aria-label", `Select ${item.name}`);
    back.setAttribute("aria-label", `Restore ${item.name}`);
    gone.setAttribute("aria-label", `Delete ${item.name} for good`);
  }

  return { node, update };
}

const bytesOf = (items) => items.reduce((sum, { bytes }) => sum + bytes, 0);

const KINDS = [
  ["run", "runs"],
  ["study", "studies"],
  ["bench", "benches"],
];

/** "3 runs", or "3 runs and studies" where there are some of both; the kinds are those of `items`. */
function countOf(items, total = items.length) {
  const found = KINDS.filter(([kind]) => (kind === "run" && total > items.length) || items.some((item) => item.kind === kind));
  const among = found.length ? found : KINDS.slice(0, 1);
  const [one, many] = [among.map(([single]) => single).join(" or "), among.map(([, several]) => several)];
  return plural(total, one, many.length > 1 ? `${many.slice(0, -1).join(", ")} and ${many.at(-1)}` : many[0]);
}

function whatOf(items) {
  if (items.length !== 1) return countOf(items);
  const { name } = items[0];
  return `“${name.length > 60 ? `${name.slice(0, 59)}…` : name}”`;
}

function untilText({ total, keeps_days: days, expires }) {
  const what = "What is deleted on these pages comes here and can be brought back";
  const visit = whenText(expires);
  const parts = [days === null ? "until it is deleted for good" : `for ${plural(days, "day")}, and then goes by itself`];
  if (visit) parts.push(`like all that is kept for you here, it goes on ${visit} if you do not come back before`);
  return `${what} ${parts.join("; ")}.${total ? "" : " There is nothing here now."}`;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
