// The Library: the runs that were kept. Found, opened, marked, compared, taken away.
// The server's answer to `find` is the truth; marks show at once and give way to the server's answer.

import { ask } from "../core/ask.js";
import { takeDrops } from "../core/chosen_files.js";
import { el } from "../core/dom.js";
import { download } from "../form/exports.js";
import { lastWord, whenLeaving } from "../core/last_word.js";
import { createActions } from "./library_actions.js";
import { createCards } from "./library_cards.js";
import { createDataset } from "./library_dataset.js";
import { createDetails } from "./library_details.js";
import { createDifference } from "./library_difference.js";
import { createFilters } from "./library_filters.js";
import { createImport } from "./library_import.js";
import { createTrash } from "./library_trash.js";
import { bytesText, plural, titleOf, whenText } from "../runs/library_text.js";
import { currentPage, initPages, isHidden, linkedRun, openAttention, openRun, showPage } from "../core/pages.js";
import { toast } from "../core/toast.js";

const PAGE = 100;
const AT_ONCE = 24; // pictures asked for together
const MOST = 500; // what one answer of the server holds
const VIEW = "diffatlas-library-view";

/** Mount the Library in `element`; it has no value to `read`.
 *
 * `server` has find, mark, trash, trashed, restore, forget, empty_trash, details, difference, open, replay, replay_state, export, dataset, push,
 * import and job; `props` has kinds. `onSubmit({ids})` is told of runs that have become layers, after the page has
 * changed to them.
 */
export function mount(element, read, server, props, onSubmit = () => {}) {
  initPages();

  const kinds = props.kinds ?? [];
  const names = new Map(); // id of a model -> what it is called, from the rows
  const modelName = (id) => names.get(id) ?? id;
  const selected = new Map(); // id -> row; a run stays selected when a search leaves it out
  let rows = [];
  let found = null; // the last answer of find
  let view = remembered();
  let loading = false;
  let problem = null;
  let ticket = 0;
  let coming = 0; // which coming into sight is the last
  let stale = true; // whether to ask again when the page comes into sight
  let saving = Promise.resolve(); // marks are saved one after another
  const unanswered = new Set(); // changes of marks that the server may not have yet
  let inTrash = false;

  const parts = layout();
  element.querySelector(".da-mount").replaceChildren(parts.root);
  const filters = createFilters(parts.filters, { onChange: () => find(), onView: changeView, modelName });
  const cards = createCards(parts.cards, { onOpen: openDetails, onPick: pick, onLock: lock, modelName });
  const actions = createActions(parts.root, { server, kinds, acts: { open: openSelected, attention: () => openAttention([...selected.keys()]), compare, explore: exploreSelected, dataset: () => dataset.open([...selected.keys()]), trash: trashSelected, none } });
  const details = createDetails({ server, kinds, modelName, knownTags: () => found?.tags ?? [], acts: { mark, open: openIds, attention: (id) => openAttention([id]), trash: (ids, event) => trash(ids, event), step } });
  const difference = createDifference({ server, modelName, onOpen: openIds });
  const dataset = createDataset({ server });
  const incoming = createImport({ server, onImported: () => refresh() });
  const bin = createTrash(parts.bin, { server, onChange: () => refresh(), onClose: () => turnToTrash(false) });
  const importing = () => ({ shared: found?.mode === "shared", shipped: found?.shipped, mostUpload: found?.most_upload });
  const takeIn = () => incoming.open(importing());
  takeDrops(parts.root, (files) => incoming.receive(files, importing()));
  parts.import.addEventListener("click", takeIn);
  parts.trash.addEventListener("click", () => turnToTrash(true));
  parts.more.addEventListener("click", more);
  parts.all.addEventListener("click", () => pick(rows.map((row) => row.id), true));
  parts.again.addEventListener("click", () => find());
  parts.clear.addEventListener("click", () => filters.clear());
  parts.make.addEventListener("click", () => showPage("trajectory"));
  parts.bring.addEventListener("click", () => ask(server, "example", {}).then(refresh, complain));
  parts.take.addEventListener("click", takeIn);
  parts.downloadAll.addEventListener("click", takeAway);
  parts.pushAll.addEventListener("click", () => everyId().then((ids) => dataset.open(ids, { toHub: true }), complain));

  /** `limit` runs from `offset` on, asked for in as many pieces as the server wants; the answer with all of them. */
  async function request(offset, limit, query = filters.query()) {
    const runs = [];
    for (;;) {
      const part = await ask(server, "find", { ...query, limit: Math.min(MOST, limit - runs.length), offset: offset + runs.length });
      runs.push(...part.runs);
      if (!part.runs.length || runs.length >= limit || offset + runs.length >= part.total) {
        for (const { model, model_name: name } of runs) if (name) names.set(model, name);
        return { ...part, runs };
      }
    }
  }

  /** Ask anew, from the first run; a larger `limit` keeps what is shown where only something small has changed. */
  async function find(limit = PAGE) {
    const mine = ++ticket;
    loading = true;
    problem = null;
    render();
    try {
      const answer = await request(0, limit);
      if (mine !== ticket) return;
      found = answer;
      rows = answer.runs;
      stale = false;
      pictures(mine);
    } catch (error) {
      if (mine !== ticket) return;
      problem = error.message;
    }
    loading = false;
    render();
  }

  // Pictures that the server has to make first come after the rows, some at a time, as long as nobody asks anew.
  async function pictures(mine) {
    for (;;) {
      const wanted = rows.filter((row) => row.unpictured).slice(0, AT_ONCE).map((row) => row.id);
      if (!wanted.length || mine !== ticket) return;
      const { thumbs } = await ask(server, "thumbs", { ids: wanted }).catch(() => ({ thumbs: {} }));
      rows = rows.map((row) => (wanted.includes(row.id) ? { ...row, thumb: thumbs[row.id] ?? row.thumb, unpictured: false } : row));
      render();
    }
  }

  // New runs move the others on: until they are there, a click could fall on another run than the one that was meant.
  async function comeBack() {
    const mine = ++coming;
    parts.cards.inert = true;
    await refresh();
    if (mine === coming) parts.cards.inert = false;
  }

  function refresh() {
    return find(Math.max(PAGE, rows.length));
  }

  async function more() {
    const mine = ++ticket;
    const first = rows.length;
    loading = true;
    render();
    try {
      const answer = await request(first, PAGE);
      if (mine !== ticket) return;
      const known = new Set(rows.map((row) => row.id));
      found = answer;
      const next = answer.runs.filter((row) => !known.has(row.id));
      rows = [...rows, ...next];
      loading = false;
      render();
      pictures(mine);
      // The button has moved on, or gone: the keyboard goes on with the first that is new.
      if (next.length) parts.cards.querySelectorAll(".da-run-open")[first]?.focus({ preventScroll: true });
    } catch (error) {
      if (mine !== ticket) return;
      loading = false;
      problem = error.message;
      render();
    }
  }

  function put(row) {
    // A name that was just given is what it is called until the list is asked for again.
    const renamed = (each) => (each.name !== row.name && !row.label ? { label: null } : {});
    rows = rows.map((each) => (each.id === row.id ? { ...each, ...row, ...renamed(each) } : each));
    if (selected.has(row.id)) selected.set(row.id, { ...selected.get(row.id), ...row });
    const whole = rows.find((each) => each.id === row.id);
    details.update(whole ?? row);
    render();
  }

  /** Save marks of a run; a promise of its row, or an error to be shown. */
  function mark(change) {
    unanswered.add(change);
    const saved = saving.then(() => ask(server, "mark", change)).then(({ run }) => {
      put(run);
      const known = new Set(found?.tags ?? []);
      if (run.tags.some((tag) => !known.has(tag))) found = { ...found, tags: [...new Set([...known, ...run.tags])].sort() };
      return run;
    });
    saving = saved.catch(() => {}).then(() => unanswered.delete(change));
    return saved;
  }

  function saveAll() {
    const changes = new Map();
    for (const change of [...unanswered, details.unsaved()]) if (change) changes.set(change.id, { ...changes.get(change.id), ...change });
    for (const change of changes.values()) lastWord("library", "mark", change);
  }

  async function lock(id, locked) {
    const before = rows.find((row) => row.id === id);
    put({ ...before, locked });
    try {
      await mark({ id, locked });
    } catch (error) {
      put(before);
      complain(error);
    }
  }

  function pick(ids, picked) {
    for (const id of ids) {
      const row = rows.find((each) => each.id === id) ?? selected.get(id);
      if (picked && row) selected.set(id, row);
      else selected.delete(id);
    }
    render();
  }

  function none() {
    selected.clear();
    render();
    parts.heading.focus({ preventScroll: true });
  }

  function openDetails(id) {
    const at = rows.findIndex((row) => row.id === id);
    if (at >= 0) details.open(rows[at], { first: at === 0, last: at === rows.length - 1 });
  }

  function step(id, by) {
    const to = rows.findIndex((row) => row.id === id) + by;
    if (rows[to]) openDetails(rows[to].id);
  }

  async function openIds(ids) {
    await ask(server, "open", { ids });
    openRun(ids);
    onSubmit({ ids });
    stale = true;
  }

  /** Go to the Neighbourhood page, its form filled for what is selected. */
  async function exploreSelected() {
    const explore = [...selected.keys()];
    try {
      await ask(server, "explore", { ids: explore });
    } catch (error) {
      complain(error);
      return;
    }
    showPage("neighbourhood");
    onSubmit({ explore });
  }

  function openSelected() {
    openIds([...selected.keys()]).catch(complain);
  }

  function compare() {
    const [a, b] = selected.values();
    if (a && b) difference.open(a, b);
  }

  /** Show the Trash in the place of the runs, or the runs again. */
  function turnToTrash(open) {
    inTrash = open;
    render();
    if (open) bin.open();
    else parts.heading.focus({ preventScroll: true });
  }

  function trashSelected(event) {
    trash([...selected.keys()], event);
  }

  async function trash(ids, event) {
    try {
      const { done, refused } = await ask(server, "trash", { ids });
      const gone = new Set(done);
      const names = rows.filter((row) => gone.has(row.id)).map(titleOf);
      for (const id of done) selected.delete(id);
      rows = rows.filter((row) => !gone.has(row.id));
      if (gone.has(details.shown())) details.close();
      if (found) found = { ...found, total: Math.max(0, found.total - done.length) };
      render();
      const what = done.length === 1 && names.length ? `“${cut(names[0])}”` : plural(done.length, "run");
      // With the keyboard, what can be done about it is the next thing at hand.
      const byKey = event?.detail === 0;
      if (!byKey) parts.heading.focus({ preventScroll: true });
      const kept = refused.length ? ` ${plural(refused.length, "run")} not: ${refused[0]}` : "";
      toast(`${what} moved to the Trash.${kept}`, { act: { label: "Undo", run: () => restore(done) }, focus: byKey });
      refresh();
    } catch (error) {
      complain(error);
    }
  }

  async function restore(ids) {
    parts.heading.focus({ preventScroll: true });
    try {
      const { done, refused } = await ask(server, "restore", { ids });
      toast(`${plural(done.length, "run")} restored.${refused.length ? ` ${refused[0]}` : ""}`);
    } catch (error) {
      complain(error);
    }
    refresh();
    if (inTrash) bin.refresh();
  }

  async function everyId() {
    const nothing = { text: "", model: null, status: null, tag: null, since: null, until: null, locked: null };
    const { runs } = await request(0, Infinity, { ...nothing, sort: "created", descending: true });
    return runs.map((run) => run.id);
  }

  async function takeAway() {
    parts.downloadAll.disabled = true;
    parts.downloadAll.textContent = "Preparing…";
    try {
      const { url, name } = await ask(server, "export", { kind: kinds.some((kind) => kind.key === "zip") ? "zip" : "npz", ids: await everyId() });
      download(url, name);
    } catch (error) {
      complain(error);
    }
    parts.downloadAll.disabled = false;
    parts.downloadAll.textContent = "Download all";
  }

  function complain(error) {
    toast(error.message);
  }

  function changeView(next) {
    view = next;
    try {
      sessionStorage.setItem(VIEW, view);
    } catch {
      // A browser that keeps nothing begins anew at each visit.
    }
    render();
  }

  function render() {
    const searched = filters.any();
    filters.update({ models: found?.models ?? [], tags: found?.tags ?? [], view });
    cards.update({ rows, selected, view });
    actions.update([...selected.values()]);
    parts.root.setAttribute("aria-busy", String(loading));
    write(parts.usage, found ? usageText(found.usage) : "");
    write(parts.count, countText({ loading, found, rows, searched }));
    parts.problem.hidden = !problem;
    write(parts.message, problem ?? "");
    const none = found && !rows.length && !loading && !problem;
    const empty = none && !searched;
    parts.bin.hidden = !inTrash;
    parts.runs.hidden = inTrash;
    parts.root.classList.toggle("da-in-trash", inTrash);
    write(parts.trash, found?.trashed ? `Trash (${found.trashed.toLocaleString("en-GB")})` : "Trash");
    parts.trash.hidden = inTrash;
    parts.nothing.hidden = !empty;
    parts.filters.hidden = empty;
    parts.import.hidden = empty || inTrash;
    parts.unmatched.hidden = !(none && searched);
    parts.all.hidden = !rows.length || rows.every((row) => selected.has(row.id));
    const left = found ? found.total - rows.length : 0;
    parts.more.hidden = left <= 0 || !rows.length;
    parts.more.disabled = loading;
    write(parts.more, `Show ${Math.min(PAGE, left)} more`);
    banner();
  }

  function banner() {
    const shared = found?.mode === "shared";
    parts.banner.hidden = !shared || !found.usage?.runs;
    if (!shared) return;
    const until = whenText(found.expires);
    write(parts.kept, `Your runs are kept ${until ? `until ${until}` : "for a limited time"}; download or push them before.`);
  }

  async function openLinked() {
    const id = linkedRun();
    if (!id) return null;
    try {
      if (currentPage() !== "library") return await openIds([id]);
      await find();
      const at = rows.findIndex((row) => row.id === id);
      if (at >= 0) return openDetails(id);
      // It is further down than what is shown.
      const { run } = await ask(server, "details", { id });
      details.open(run, { first: true, last: true });
    } catch (error) {
      complain(error);
    }
    return null;
  }

  function inSight() {
    if (currentPage() === "library" && !isHidden("library")) comeBack();
    else stale = true;
    if (inTrash && currentPage() === "library") bin.refresh();
  }

  window.addEventListener("da-page", inSight);
  whenLeaving(saveAll);
  render();
  openLinked().then(() => stale && inSight());
}

function usageText({ runs, bytes, cap }) {
  return `${plural(runs, "run")}, ${bytesText(bytes)}${cap ? ` of ${bytesText(cap)}` : ""}`;
}

function countText({ loading, found, rows, searched }) {
  if (loading && !rows.length) return "Reading the Library…";
  if (!found || !rows.length) return "";
  if (rows.length < found.total) return `${rows.length} of ${plural(found.total, "run")}`;
  return searched ? `${plural(found.total, "run")} found` : "";
}

const cut = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function remembered() {
  try {
    return sessionStorage.getItem(VIEW) === "list" ? "list" : "grid";
  } catch {
    return "grid";
  }
}

function layout() {
  const button = (className, text) => el("button", { type: "button", class: `da-button ${className}` }, text);
  const heading = el("h2", { class: "da-library-title", tabindex: -1 }, "Library");
  const usage = el("p", { class: "da-usage" });
  const importing = button("da-import", "Import…");
  const trash = button("da-open-trash", "Trash");
  const kept = el("p", {});
  const downloadAll = button("da-download-all", "Download all");
  const pushAll = button("da-push-all", "Push to the Hub…");
  const banner = el("div", { class: "da-banner", hidden: "" }, kept, downloadAll, pushAll);
  const filters = el("div", { class: "da-library-filters" });
  const count = el("p", { class: "da-count", role: "status" });
  const all = el("button", { type: "button", class: "da-plain da-select-all" }, "Select all shown");
  const message = el("p", {});
  const again = el("button", { type: "button", class: "da-plain da-again" }, "Try again");
  const problem = el("div", { class: "da-problem", role: "alert", hidden: "" }, message, again);
  const make = button("da-first", "Make a run");
  const bring = button("", "Bring in two recorded runs");
  const take = button("", "Import runs…");
  const nothing = el(
    "div",
    { class: "da-nothing", hidden: "" },
    el("p", { class: "da-nothing-head" }, "No run has been kept yet."),
    el("p", {}, "Every run of the Trajectory page comes here by itself: its prompt and settings, every step, the images, and what it ran on. Here you find it again, replay it, compare it, and take it away."),
    el("div", { class: "da-details-row" }, make, bring, take),
  );
  const clear = el("button", { type: "button", class: "da-plain" }, "Clear the filters");
  const unmatched = el("div", { class: "da-nothing", hidden: "" }, el("p", { class: "da-nothing-head" }, "No run matches."), el("p", {}, "The search looks in prompts, names, notes, tags, models and ids, for words that begin as you typed. "), clear);
  const cards = el("div", { class: "da-library-cards" });
  const more = button("da-more", "Show more");
  const bin = el("section", { class: "da-trash", "aria-label": "Trash", hidden: "" });
  const runs = el("div", { class: "da-library-runs" }, filters, el("div", { class: "da-count-row" }, count, all), problem, nothing, unmatched, cards, more);
  const root = el("div", { class: "da-library" }, el("div", { class: "da-library-head" }, heading, usage, importing, trash), banner, runs, bin);
  return { root, heading, usage, import: importing, trash, bin, runs, banner, kept, downloadAll, pushAll, filters, count, all, message, again, problem, make, bring, take, nothing, clear, unmatched, cards, more };
}
