// Two lanes compared: the second minus the first by category, and the images of which only one is right.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createDrawn } from "../figures/drawn.js";

const PAGE = 12;
const HEADS = [
  ["Category", ""],
  ["Second − first", "Mean over the prompts that both have"],
  ["95% interval", ""],
  ["p", "Sign-flips over prompts; of categories adjusted by Holm for how many there are"],
  ["Detectable", "The smallest difference that would have been found four times of five"],
  ["Prompts", "That both have, and of them those that differ"],
];

/** Create the section in `root`; `onClose()` is told when nothing is to be compared any more. */
export function createCompared(root, { server, onClose }) {
  const title = el("h3", {});
  const swap = el("button", { type: "button", class: "da-plain", onclick: () => turn() }, "Exchange the two");
  const close = el("button", { type: "button", class: "da-plain", onclick: () => onClose() }, "Close");
  const notes = el("ul", { class: "da-board-notes" });
  const message = el("p", { class: "da-caption", role: "status" });
  const chart = el("div", { class: "da-bench-chart" });
  const numbers = el("details", { class: "da-pack-fold" }, el("summary", {}, "The same in numbers"));
  const body = el("div", { class: "da-table-box", tabindex: 0, role: "region", "aria-label": "Differences" });
  numbers.append(body);
  const filters = el("div", { class: "da-board-filters", role: "group", "aria-label": "Which images" });
  const pairs = el("ol", { class: "da-board-pairs" });
  const more = el("button", { type: "button", class: "da-button", hidden: "", onclick: () => fetchPairs() });
  const images = el("section", { class: "da-section" }, el("h3", {}, "Where one is right and the other is not"), filters, pairs, more);
  const node = el("section", { class: "da-section da-board-compared", hidden: "" }, el("div", { class: "da-pack-head" }, title, el("div", { class: "da-pack-acts" }, swap, close)), notes, message, chart, numbers, images);
  root.append(node);
  const drawn = createDrawn(chart, { server, call: "board_figure", most: 1 });
  let sides = null; // {first, second, by_hand} as the server takes them
  let swapped = false;
  let key = "";
  let answer = null;
  let which = "any";
  let shown = 0;
  let ticket = 0;

  /** Compare two rows of boards; null for none. */
  function update(two, byHand) {
    node.hidden = !two;
    if (!two) {
      key = "";
      drawn.show(null);
      return;
    }
    const [first, second] = (swapped ? [...two].reverse() : two).map(({ bench, lane, scorer }) => ({ bench, lane, scorer }));
    const next = { first, second, by_hand: byHand };
    if (JSON.stringify(next) === key) return;
    key = JSON.stringify(next);
    sides = next;
    fetch();
  }

  function turn() {
    swapped = !swapped;
    sides = { ...sides, first: sides.second, second: sides.first };
    key = JSON.stringify(sides);
    fetch();
  }

  async function fetch() {
    const mine = ++ticket;
    write(message, "Comparing…");
    try {
      const found = await ask(server, "board_compare", sides);
      if (mine !== ticket) return;
      answer = found;
      write(message, "");
      tell();
    } catch (error) {
      if (mine !== ticket) return;
      answer = null;
      write(message, error.message);
    }
    for (const each of [chart, numbers, images]) each.hidden = !answer;
    drawn.show(answer ? { ...sides, id: key } : null);
  }

  function tell() {
    title.replaceChildren(answer.second, el("span", { class: "da-board-about" }, "minus"), answer.first);
    notes.replaceChildren(...answer.notes.map((words) => el("li", {}, words)));
    const row = (one) =>
      el("tr", {}, el("th", { scope: "row" }, one.tag), ...[signed(one.difference), `${signed(one.low)} to ${signed(one.high)}`, one.p < 0.001 ? "< 0.001" : one.p.toFixed(3), one.detectable.toFixed(2), `${one.prompts}, ${one.differ} differ`].map((text) => el("td", {}, text)));
    const head = el("tr", {}, ...HEADS.map(([text, about]) => el("th", { scope: "col", title: about || null }, text)));
    body.replaceChildren(el("table", { class: "da-table" }, el("thead", {}, head), el("tbody", {}, ...answer.categories.map(row)), el("tfoot", {}, row(answer.all))));
    const { only_first: first, only_second: second } = answer;
    const choice = (value, text) => el("button", { type: "button", class: "da-button", "data-which": value, onclick: () => filter(value) }, text);
    filters.replaceChildren(choice("any", `All ${first + second}`), choice("first", `Only the first right: ${first}`), choice("second", `Only the second right: ${second}`));
    filter(which);
  }

  function filter(next) {
    which = next;
    for (const each of filters.children) each.setAttribute("aria-pressed", String(each.dataset.which === which));
    shown = 0;
    pairs.replaceChildren();
    fetchPairs();
  }

  async function fetchPairs() {
    const mine = `${key} ${which} ${shown}`;
    more.disabled = true;
    try {
      const found = await ask(server, "board_apart", { ...sides, which, offset: shown, limit: PAGE });
      if (mine !== `${key} ${which} ${shown}`) return;
      shown += found.pairs.length;
      pairs.append(...found.pairs.map(pairLine));
      more.hidden = shown >= found.total;
      write(more, `Show ${Math.min(PAGE, found.total - shown)} more`);
      if (!found.total) pairs.append(el("li", { class: "da-caption" }, "There is no such image."));
    } catch (error) {
      write(message, error.message);
    }
    more.disabled = false;
  }

  return { update };
}

function pairLine({ prompt, tag, demands, first, second }) {
  return el(
    "li",
    { class: "da-board-pair" },
    el("div", { class: "da-board-shots" }, shot(first, "first"), shot(second, "second")),
    el("p", { class: "da-board-prompt", dir: "auto" }, prompt),
    el("p", { class: "da-caption" }, tag, demands.length ? `: ${demands.join(", ")}` : ""),
  );
}

function shot({ seed, picture, verdict, reasons }, words) {
  const right = verdict === "pass";
  return el(
    "figure",
    { class: right ? "da-right" : "da-wrong" },
    picture ? el("img", { src: picture, alt: `The ${words}, ${seed}: ${right ? "right" : "wrong"}`, loading: "lazy", decoding: "async" }) : el("span", { class: "da-board-none" }, "no picture"),
    el("figcaption", { dir: "auto" }, el("b", {}, right ? "right" : "wrong"), ` ${words}, ${seed}`, reasons.length && !right ? el("small", {}, reasons.join("; ")) : null),
  );
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
