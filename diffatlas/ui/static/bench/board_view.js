// The boards: saved benches held against each other, those of one pack and one judge in one table; and two of them
// compared.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { plural, whenText } from "../runs/library_text.js";
import { createCompared } from "./board_compared.js";

/** Create the view in `root`. `onOpen(id)` opens a bench. */
export function createBoards(root, { server, onOpen }) {
  const hand = el("input", { type: "checkbox", class: "da-check", checked: "", onchange: () => refresh() });
  const bar = el("div", { class: "da-cards-bar" }, el("label", { class: "da-cards-tick", title: "Counts what a person says in the place of what a judge does" }, hand, el("span", {}, "Marks by hand count")));
  const message = el("p", { class: "da-caption", role: "status" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const list = el("div", { class: "da-boards" });
  const place = el("div", {});
  root.append(bar, problem, message, list, place);
  const compared = createCompared(place, { server, onClose: () => pick([]) });
  const sorted = {}; // id of a board -> {by: "name", "all" or a category, down}
  let boards = null;
  let picked = []; // keys of at most two rows, the first first
  let ticket = 0;
  let shown = false;
  let ended = null; // the bench and how it stood when the boards were asked for

  function update(state) {
    const now = state.bench ? `${state.bench.id} ${state.status} ${state.marked ?? ""}` : "";
    const turned = state.view === "compare" && (!shown || now !== ended);
    shown = state.view === "compare";
    if (turned && !(boards && state.busy)) {
      ended = now;
      refresh();
    }
  }

  async function refresh() {
    const mine = ++ticket;
    if (!boards) write(message, "Counting…");
    try {
      const answer = await ask(server, "boards", { by_hand: hand.checked });
      if (mine !== ticket) return;
      boards = answer.boards;
      const keys = new Set(boards.flatMap(({ rows }) => rows.map(keyOf)));
      picked = picked.filter((key) => keys.has(key));
      complain(answer.unread.length ? `${plural(answer.unread.length, "bench", "benches")} cannot be read: ${answer.unread[0]}` : "");
    } catch (error) {
      if (mine !== ticket) return;
      complain(error.message);
    }
    draw();
  }

  function complain(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function pick(keys) {
    picked = keys;
    draw();
  }

  function toggle(key) {
    pick(picked.includes(key) ? picked.filter((one) => one !== key) : [...picked, key].slice(-2));
  }

  function draw() {
    if (!boards) return;
    bar.hidden = !boards.length;
    const apart = boards.length > 1 ? " Tables are of different packs or judges: what stands in one is not to be held against what stands in another." : "";
    write(message, boards.length ? `Choose two rows to compare them.${apart}` : "No bench has been judged yet: run one, and its lanes stand here.");
    list.replaceChildren(...boards.map(section));
    const rows = boards.flatMap((board) => board.rows);
    const two = picked.map((key) => rows.find((row) => keyOf(row) === key));
    compared.update(two.length === 2 ? two : null, hand.checked);
  }

  function section(board) {
    return el(
      "section",
      { class: "da-board", "data-id": board.id },
      el("h3", {}, board.pack, el("span", { class: "da-board-about" }, `${plural(board.prompts, "prompt")} · judged by ${board.scorer}`)),
      el("p", { class: "da-caption" }, board.about),
      el("div", { class: "da-table-box", tabindex: 0, role: "region", "aria-label": `Board of ${board.pack}` }, el("table", { class: "da-table" }, el("thead", {}, heads(board)), el("tbody", {}, ...inOrder(board).map(line)))),
    );
  }

  function heads(board) {
    const { by = "all", down = true } = sorted[board.id] ?? {};
    const head = (key, text, title) => {
      const on = by === key;
      const turn = () => {
        sorted[board.id] = { by: key, down: on ? !down : key !== "name" };
        draw();
        list.querySelector(`[data-id="${board.id}"] [data-by="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
      };
      return el("th", { scope: "col", "aria-sort": on ? (down ? "descending" : "ascending") : null }, el("button", { type: "button", class: "da-board-sort", "data-by": key, title, onclick: turn }, ...broken(text), el("span", { "aria-hidden": "true" }, on ? (down ? " ↓" : " ↑") : "")));
    };
    return el("tr", {}, head("name", "Lane", "Sort by name"), head("all", "Mean", "The mean of the categories, and its interval of 95%"), ...board.tags.map((tag) => head(`tag ${tag}`, tag, `Sort by ${tag}`)), el("th", { scope: "col" }, "Images"));
  }

  function inOrder(board) {
    const { by = "all", down = true } = sorted[board.id] ?? {};
    const value = (row) => (by === "all" ? row.overall : row.categories.find(({ tag }) => `tag ${tag}` === by))?.value ?? -1;
    const rows = [...board.rows].sort((a, b) => (by === "name" ? b.name.localeCompare(a.name) : value(b) - value(a)));
    return down ? rows : rows.reverse();
  }

  function line(row) {
    const key = keyOf(row);
    const at = picked.indexOf(key);
    const box = el("input", { type: "checkbox", class: "da-check", "aria-label": `Compare ${row.name}`, onchange: () => toggle(key) });
    box.checked = at >= 0;
    const title = `${row.title}\n${whenText(row.created)}`;
    const there = row.images === row.of ? String(row.images) : `${row.images} of ${row.of}`;
    const also = [row.overall.unjudged ? `${row.overall.unjudged} not judged` : null, row.marked ? `${row.marked} by hand` : null].filter(Boolean);
    return el(
      "tr",
      { class: at >= 0 ? "da-chosen" : "" },
      el("th", { scope: "row" }, el("span", { class: "da-board-pick" }, box, el("b", { class: "da-board-place" }, at >= 0 ? ["1", "2"][at] : ""), el("button", { type: "button", class: "da-plain da-board-open", dir: "auto", title, "aria-label": `Open ${row.name}`, onclick: () => onOpen(row.bench) }, row.name), also.length ? el("small", {}, also.join(" · ")) : null)),
      el("td", { class: "da-board-all" }, share(row.overall), el("small", {}, between(row.overall))),
      ...row.categories.map((one) => el("td", { title: `${one.tag}: ${between(one)}, ${plural(one.images, "image")}${one.unjudged ? `, ${one.unjudged} not judged` : ""}` }, share(one))),
      el("td", {}, there),
    );
  }

  return { update };
}

// A name that may go on in another line after each underscore.
const broken = (text) => text.split(/(?<=_)/).flatMap((part, at) => (at ? [el("wbr"), part] : [part]));
const keyOf = ({ bench, lane, scorer }) => `${bench} ${lane} ${scorer}`;
const share = ({ value }) => (value === null ? "–" : value.toFixed(2));
const between = ({ low, high }) => (low === null ? "" : `${low.toFixed(2)} to ${high.toFixed(2)}`);

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
