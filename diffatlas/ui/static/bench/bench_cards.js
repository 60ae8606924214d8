// The cards of a bench: a grid of all images, filtered, judged by keyboard or by touch.

import { el } from "../core/dom.js";
import { remember, remembered } from "../core/remember.js";
import { plural } from "../runs/library_text.js";
import { BY_VERDICT, deckOf, judgeOf, NO_FILTERS } from "./bench_deck.js";
import { createRoll } from "./bench_roll.js";
import { createThumbs } from "./bench_thumbs.js";
import { saidBy, statusWords, verdictWords } from "./bench_words.js";

const KEYS = { p: "pass", f: "fail", u: "cannot judge" };
const HELP = [["↑ ↓ ← →", "move"], ["P", "pass"], ["F", "fail"], ["U", "cannot judge"], ["Backspace", "take the mark back"], ["N", "next without a mark"], ["Z", "undo"], ["Enter", "open"]];

/** Create the view in `root`. `marks` keeps what a person says; `onChoose(key)` and `onOpen(key)` are told. */
export function createCards(root, { server, store, marks, onChoose, onOpen }) {
  const filters = { ...NO_FILTERS, blind: remembered("bench-blind", ["true", "false"], "false") === "true" };
  let state = null;
  let deck = [];
  let made = ""; // what the deck was made of

  const select = (name, text) => {
    const node = el("select", { class: "da-select", "data-filter": name, onchange: () => filter(name, node.value) });
    return { node, field: el("label", { class: "da-field" }, el("span", {}, text), node), offered: "" };
  };
  const picks = { tag: select("tag", "Category"), lane: select("lane", "Lane"), judge: select("judge", "Judge"), verdict: select("verdict", "Verdict") };
  const blind = el("input", { type: "checkbox", class: "da-check", onchange: () => filter("blind", blind.checked) });
  const count = el("p", { class: "da-caption da-cards-count", role: "status" });
  const bar = el("div", { class: "da-cards-bar" }, ...Object.values(picks).map(({ field }) => field), el("label", { class: "da-cards-tick da-cards-blind", title: "Hides what judges say: whoever sees a verdict follows it" }, blind, el("span", {}, "Judge blindly")));
  const help = el("p", { class: "da-caption da-cards-help" }, ...HELP.flatMap(([key, what]) => [el("kbd", {}, key), ` ${what}  `]));
  const place = el("div", {});
  const none = el("p", { class: "da-absent" });
  const acts = createActs();
  root.append(bar, help, acts.node, count, place, none);

  const thumbs = createThumbs({ server, onCome: () => state && draw() });
  const roll = createRoll(place, {
    face,
    label: "Images of the bench",
    onChoose,
    onOpen,
    onView: (items) => {
      if (!state?.bench) return;
      const cards = items.map(({ key }) => ({ key, run: store.card(key).run, status: store.card(key).status }));
      thumbs.want(state.bench.id, cards.filter(({ status }) => status === "complete"));
    },
  });

  function filter(name, value) {
    filters[name] = value;
    if (name === "blind") {
      remember("bench-blind", String(value));
      if (value && !BY_VERDICT.find(([each]) => each === filters.verdict)[2]) filters.verdict = "";
    }
    made = "";
    update(state);
  }

  function update(next) {
    state = next;
    if (!state?.bench || state.view !== "cards") return;
    const { bench, cells } = state;
    filters.judge = judgeOf(bench, filters);
    if (filters.lane && !bench.lanes.some(({ key }) => key === filters.lane)) filters.lane = "";
    if (filters.tag && !bench.tasks.some(({ tag }) => tag === filters.tag)) filters.tag = "";
    offer();
    // A card that was just marked stays where it is, whatever the filter says of it now.
    const of = JSON.stringify([bench.id, state.version, filters]);
    if (of !== made) {
      made = of;
      deck = deckOf(bench, cells, filters);
    }
    draw();
  }

  function offer() {
    const { bench } = state;
    const tags = [...new Set(bench.tasks.map(({ tag }) => tag))];
    fill(picks.tag, [["", "all"], ...tags.map((tag) => [tag, tag])], filters.tag);
    fill(picks.lane, [["", "all"], ...bench.lanes.map(({ key, name }) => [key, name])], filters.lane);
    fill(picks.judge, bench.scorers.map(({ name }) => [name, name]), filters.judge);
    const lone = bench.scorers.length < 2;
    fill(picks.verdict, BY_VERDICT.filter(([value, , blindly]) => (blindly || !filters.blind) && !(value === "split" && lone)), filters.verdict);
    picks.lane.field.hidden = bench.lanes.length < 2;
    picks.judge.field.hidden = lone || filters.blind;
    blind.checked = filters.blind;
  }

  function draw() {
    const { bench, cell } = state;
    const total = bench.tasks.length * bench.lanes.length * bench.seeds.length;
    write(count, deck.length === total ? plural(total, "image") : `${deck.length} of ${plural(total, "image")}`);
    none.hidden = deck.length > 0;
    write(none, "No image is like that.");
    place.hidden = !deck.length;
    if (deck.length) roll.update({ items: deck, chosen: cell, group: bench.seeds.length * (filters.lane ? 1 : bench.lanes.length) });
    acts.update();
  }

  // What a card shows, put into an element that serves many.
  function face() {
    const image = el("img", { alt: "", draggable: "false", decoding: "async" });
    const blank = el("span", { class: "da-card-blank" });
    const shot = el("div", { class: "da-card-shot" }, image, blank);
    const prompt = el("p", { class: "da-card-prompt", dir: "auto" });
    const facts = el("p", { class: "da-card-facts" });
    const said = el("p", { class: "da-card-said" });
    const node = el("div", { class: "da-card-face" }, shot, prompt, facts, said);
    let drawn = "";

    function show(item, cell) {
      const { bench } = state;
      const card = store.card(item.key);
      const thumb = card.status === "complete" ? thumbs.get(item.key, card.run) : null;
      const own = saidBy(card, filters.judge);
      const status = statusWords(card);
      const key = JSON.stringify([item.key, card.status, status, card.mark, own, filters.blind, filters.judge, thumb?.length ?? thumb, card.error, bench.id]);
      if (key === drawn) return;
      drawn = key;
      if (thumb) image.src = thumb;
      image.hidden = !thumb;
      blank.textContent = card.status !== "complete" ? status : thumb === null ? "no picture" : "";
      write(prompt, item.task.prompt);
      prompt.title = item.task.prompt;
      const lane = bench.lanes.length > 1 ? ` · ${item.lane.name}` : "";
      write(facts, `seed ${item.seed}${lane}`);
      const hand = card.mark ? verdictWords(card.mark.verdict) : null;
      const judge = filters.blind || filters.judge === "hand" ? null : verdictWords(own);
      const waits = card.status !== "complete";
      said.replaceChildren(...(waits ? [] : [hand ? chip(hand, "by hand") : null, judge ? chip(judge, hand ? "overruled" : "") : null, !judge && !hand ? chip(verdictWords(null), "") : null].filter(Boolean)));
      said.title = card.error ?? (filters.blind ? "" : (card.said[filters.judge]?.[2] ?? ""));
      cell.dataset.status = card.status;
      const words = waits ? status : [judge ? `${filters.judge}: ${judge.word}` : null, hand ? `by hand: ${hand.word}` : null, !judge && !hand ? "not judged" : null].filter(Boolean).join(", ");
      cell.setAttribute("aria-label", `${item.task.prompt}, seed ${item.seed}${lane}, ${words}`);
    }

    return { node, update: show };
  }

  function createActs() {
    const button = (text, key, act) => el("button", { type: "button", class: "da-button", title: `Key: ${key}`, onclick: act }, text);
    const chosen = el("p", { class: "da-acts-chosen" });
    const buttons = [
      button("✓ Pass", "P", () => press("pass")),
      button("✗ Fail", "F", () => press("fail")),
      button("? Cannot judge", "U", () => press("cannot judge")),
      button("Take back", "Backspace", () => press(null)),
    ];
    const after = button("Next unmarked", "N", next);
    const open = button("Open", "Enter", () => onOpen(state.cell));
    const undo = el("button", { type: "button", class: "da-plain da-acts-undo", onclick: takeBack }, "Undo");
    const node = el("div", { class: "da-cards-acts" }, chosen, ...buttons, after, open, undo);

    function press(verdict) {
      marks.mark(state.cell, verdict);
      acts.update();
    }

    function show() {
      const item = deck.find(({ key }) => key === state.cell);
      const card = item ? store.card(item.key) : null;
      node.hidden = !deck.length;
      write(chosen, item ? `${item.task.prompt}, seed ${item.seed}` : "Choose a card to judge it.");
      for (const each of buttons.slice(0, 3)) each.disabled = card?.status !== "complete";
      buttons[3].disabled = !card?.mark;
      open.disabled = !item;
      undo.hidden = !marks.can();
    }

    return { node, update: show };
  }

  /** Go to the next card that nobody has marked. */
  function next() {
    const from = roll.place(state.cell);
    const all = [...deck.slice(from + 1), ...deck.slice(0, from + 1)];
    const found = all.find(({ key }) => store.card(key).status === "complete" && !store.card(key).mark);
    if (!found) return;
    onChoose(found.key);
    roll.focus(found.key);
  }

  function takeBack() {
    const key = marks.undo();
    if (!key) return;
    onChoose(key);
    roll.focus(key);
    acts.update();
  }

  // What a key does to the chosen card.
  function press(event) {
    if (event.target.closest?.("input, textarea, select") || event.altKey || event.metaKey) return;
    const key = event.key.toLowerCase();
    if (key === "z") takeBack();
    else if (event.ctrlKey) return;
    else if (KEYS[key]) marks.mark(state.cell, KEYS[key]);
    else if (event.key === "Backspace") marks.mark(state.cell, null);
    else if (key === "n") next();
    else return;
    event.preventDefault();
  }

  root.addEventListener("keydown", press);
  /** Show the cards of one category, and of one lane or of all. */
  function only(tag, lane) {
    Object.assign(filters, { tag, lane, verdict: "" });
    made = "";
  }

  /** Let the cards that wait say for how long now. */
  function tick() {
    if (state?.bench && state.view === "cards" && Object.values(state.cells).some((card) => card.wait)) draw();
  }

  return { update, tick, only, deck: () => deck, isBlind: () => filters.blind };
}

function chip({ sign, word, kind }, also) {
  return el("span", { class: "da-said", "data-verdict": kind, "data-also": also || null }, el("b", { "aria-hidden": "true" }, sign), ` ${word}`, also === "by hand" ? el("i", {}, " by hand") : null);
}

function fill(pick, options, value) {
  const offered = JSON.stringify(options);
  if (offered !== pick.offered) {
    pick.offered = offered;
    pick.node.replaceChildren(...options.map(([each, text]) => el("option", { value: each }, text)));
  }
  pick.node.value = value;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
