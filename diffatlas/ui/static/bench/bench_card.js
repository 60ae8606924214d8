// One card in full: its picture, what its prompt demands, what judges say and have seen, and what a person does.

import { ask } from "../core/ask.js";
import { createDialog } from "../core/dialog.js";
import { el, svg } from "../core/dom.js";
import { short } from "../core/format.js";
import { openAttention, openRun, showPage } from "../core/pages.js";
import { createBeside } from "./bench_beside.js";
import { saidBy, statusWords, verdictWords } from "./bench_words.js";

const KEYS = { p: "pass", f: "fail", u: "cannot judge" };
const SMALL = 256; // px: smaller pictures are enlarged pixel by pixel
const LETTER = 0.036; // of the picture's width: the letters of a box

/** Create the dialog. `open(key)` shows a card; `deck()` returns those that Previous and Next go through. */
export function createCard({ server, store, marks, deck, isBlind, onChoose, onSubmit }) {
  const view = createDialog("da-card-dialog");
  const button = (text, onclick, name = "") => el("button", { type: "button", class: `da-button ${name}`, onclick }, text);
  const earlier = button("Previous", () => step(-1));
  const later = button("Next", () => step(1));
  view.acts.append(earlier, later);
  const stage = el("div", { class: "da-card-stage" });
  const verdicts = Object.entries(KEYS).map(([letter, verdict]) => {
    const { sign, word } = verdictWords(verdict);
    return [verdict, el("button", { type: "button", class: "da-button", "aria-pressed": "false", title: `Key: ${letter.toUpperCase()}`, onclick: () => mark(verdict) }, `${sign} ${word[0].toUpperCase()}${word.slice(1)}`)];
  });
  const back = el("button", { type: "button", class: "da-plain", onclick: () => mark(null) }, "Take back");
  const note = el("textarea", { class: "da-input da-card-note", rows: 2, maxlength: 2000, "aria-label": "Note by hand", placeholder: "A note, kept with your mark", onchange: () => noted() });
  const hand = el("section", { class: "da-card-hand" }, el("h3", {}, "By hand"), el("div", { class: "da-details-row" }, ...verdicts.map(([, node]) => node), back), note);
  const demands = el("ul", { class: "da-card-demands" });
  const said = el("div", { class: "da-card-opinions" });
  const facts = el("dl", { class: "da-numbers" });
  const ways = el("div", { class: "da-details-row" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const beside = createBeside({ server, onBeside: (keys) => toTrajectory(store.state().bench.id, keys) });
  const aside = el("div", { class: "da-card-aside" }, problem, el("section", {}, el("h3", {}, "What it must show"), demands), hand, said, el("section", {}, el("h3", {}, "From here"), ways, beside.root), el("section", {}, el("h3", {}, "The image"), facts));
  view.body.append(el("div", { class: "da-card-columns" }, stage, aside));
  let shown = null; // key of the card in sight
  let detail = null;
  let ticket = 0;

  async function open(key) {
    shown = key;
    detail = null;
    const mine = ++ticket;
    const { bench } = store.state();
    const [, row, column] = key.split("-");
    const task = bench.tasks[Number(row)];
    view.title.textContent = task.prompt;
    stage.replaceChildren();
    note.value = store.card(key).mark?.note ?? "";
    for (const place of [demands, said, facts, ways]) place.replaceChildren();
    problem.hidden = true;
    const at = deck().findIndex((item) => item.key === key);
    earlier.disabled = at <= 0;
    later.disabled = at < 0 || at >= deck().length - 1;
    update();
    if (!view.dialog.open) view.open();
    try {
      const answer = await ask(server, "bench_card", { id: bench.id, cell: key });
      if (mine !== ticket) return;
      detail = answer;
      beside.show(bench, key, Boolean(store.card(key).run));
      draw(`${task.tag} · seed ${bench.seeds[Number(column)]}`);
    } catch (error) {
      if (mine !== ticket) return;
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }

  function draw(about) {
    const { image, width, height, task, facts: told } = detail;
    const card = store.card(shown);
    demands.replaceChildren(...detail.demands.map((demand) => el("li", {}, demand)));
    stage.replaceChildren(image ? picture(image, width, height) : el("p", { class: "da-absent" }, card.error ?? (card.status === "complete" ? "Its picture is in the library no more." : statusWords(card))), el("p", { class: "da-caption" }, `${task} · ${about}`));
    facts.replaceChildren(...told.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    drawOpinions();
    drawWays(card);
  }

  function picture(url, width, height) {
    const image = el("img", { class: `da-card-image${Math.max(width, height) <= SMALL ? " da-pixels" : ""}`, src: url, alt: detail.prompt });
    const boxes = svg("svg", { class: "da-card-boxes", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    return el("div", { class: "da-card-picture", style: `aspect-ratio: ${width} / ${height}` }, image, boxes);
  }

  function drawOpinions() {
    if (!detail) return;
    const blind = isBlind();
    said.replaceChildren(...(blind ? [el("p", { class: "da-caption" }, "What judges say is hidden while you judge blindly.")] : detail.said.map(opinion)));
    drawBoxes(blind ? [] : (detail.said.find(({ seen }) => seen.length)?.seen ?? []));
  }

  function drawBoxes(seen) {
    const boxes = stage.querySelector(".da-card-boxes");
    const letter = detail.width * LETTER;
    boxes?.replaceChildren(
      ...seen.flatMap(({ label, box: [left, top, right, bottom], score }) => [
        svg("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) }),
        // A name begins at the left of its box, or ends at its right where there would be no room.
        svg("text", { x: left > detail.width / 2 ? right : left, y: Math.max(letter, top - letter * 0.3), "font-size": letter, "text-anchor": left > detail.width / 2 ? "end" : "start" }, score === null || score >= 0.995 ? label : `${label} ${score.toFixed(2)}`),
      ]),
    );
  }

  function opinion({ scorer, verdict, score, reasons, seen, answers, also, card }) {
    const { sign, word, kind } = verdictWords(verdict);
    const head = el("h3", {}, `${scorer}: `, el("span", { class: "da-said", "data-verdict": kind }, el("b", { "aria-hidden": "true" }, sign), ` ${word}`), score === null ? null : ` · ${short(score, 3)}`);
    const parts = [];
    if (reasons.length) parts.push(el("ul", { class: "da-card-reasons" }, ...reasons.map((reason) => el("li", {}, reason))));
    if (seen.length) {
      const show = el("button", { type: "button", class: "da-plain", onclick: () => drawBoxes(seen) }, "Show these boxes");
      parts.push(el("p", {}, `Saw ${seen.map(({ label }) => label).join(", ")}. `, detail.said.filter((each) => each.seen.length).length > 1 ? show : null));
    }
    if (answers.length) parts.push(questions(answers));
    const rows = [...also, ...card];
    if (rows.length) parts.push(el("details", {}, el("summary", {}, "What decided it"), el("dl", { class: "da-numbers" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))));
    return el("section", { class: "da-card-opinion" }, head, ...parts);
  }

  function drawWays(card) {
    const { bench } = store.state();
    const go = (text, title, act) => el("button", { type: "button", class: "da-button", title, onclick: act }, text);
    const key = shown;
    const all = [];
    if (card.status !== "complete" && !store.state().busy) all.push(go("Make it", "Run this one alone", () => onSubmit({ retry: [key], id: bench.id })));
    if (card.run && card.status === "complete") all.push(go("Trajectory", "Its path, step by step", () => toTrajectory(bench.id, [key])));
    all.push(go("Neighbourhood", "What grows from noise around its own: the form is filled, and nothing runs", () => elsewhere("neighbourhood", { explore: key, id: bench.id })));
    if (detail.attention && card.run) all.push(go("Attention", "Where each word looked", () => openAttention([card.run])));
    else all.push(go("Attention", "Where each word looks: the form is filled to run it with attention", () => elsewhere("attention", { attend: key, id: bench.id })));
    ways.replaceChildren(...all);
  }

  async function toTrajectory(id, cells) {
    try {
      const { layers } = await ask(server, "open_card_runs", { id, cells });
      openRun(layers);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }

  function elsewhere(page, asked) {
    showPage(page);
    onSubmit(asked);
  }

  function mark(verdict) {
    marks.mark(shown, verdict, note.value.trim());
    update();
  }

  function noted() {
    const held = store.card(shown).mark;
    if (held) marks.mark(shown, held.verdict, note.value.trim());
  }

  /** Draw what a person says anew. */
  function update() {
    if (!shown) return;
    const card = store.card(shown);
    for (const [verdict, node] of verdicts) {
      node.setAttribute("aria-pressed", String(saidBy(card, "hand") === verdict));
      node.disabled = card.status !== "complete";
    }
    back.hidden = !card.mark;
  }

  function step(by) {
    const all = deck();
    const next = all[all.findIndex(({ key }) => key === shown) + by];
    if (!next) return;
    onChoose(next.key);
    open(next.key);
  }

  view.dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const verdict = KEYS[event.key.toLowerCase()];
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else if (verdict) mark(verdict);
    else if (event.key === "Backspace") mark(null);
    else return;
    event.preventDefault();
  });
  return { open, update };
}

function questions(answers) {
  const row = ({ question, expected, answer, probability }) =>
    el("tr", {}, el("th", { scope: "row" }, question), el("td", {}, expected), el("td", {}, answer || "–"), el("td", {}, probability === null ? "–" : probability.toFixed(2)));
  const head = ["question", "expected", "answer", "probability"].map((name) => el("th", { scope: "col" }, name));
  return el("div", { class: "da-table-box", tabindex: 0, role: "region", "aria-label": "Answers to questions" }, el("table", { class: "da-table" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...answers.map(row))));
}
