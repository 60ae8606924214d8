// A figure of attention by step, in which a step and a word are chosen by a click or an arrow key.

import { isChosen } from "./attention_words.js";
import { el } from "../core/dom.js";
import { createFiles } from "../figures/figure_files.js";

const WIDE = 300; // px that a chart needs: its axes have titles
// How the lines of words are called, with their place in the prompt, and what is no word of it, with its place among all
// (diffatlas/figures/attended.py).
const WORD = "word ";
const SPECIAL = "special ";

/** What each word's line is called, in the order of the words. */
function linesOf(words) {
  const own = words.filter(({ kind }) => kind !== "special");
  const prompt = own.length ? own : words;
  return words.map((word, k) => (prompt.includes(word) ? WORD + prompt.indexOf(word) : SPECIAL + k));
}

/**
 * Create it. `createFigure` is that of figure.js or of small_figure.js; `onGo(position)` is called for a captured step,
 * `onWord(indices of tokens)` for a word, and `onLine(line)` for any other line.
 *
 * `update(figure, state)` draws a figure of the server, null for none, and marks the step and the words that are chosen;
 * `lines` are those that are stressed besides.
 */
export function createAttentionFigure({ createFigure, onGo, onWord = () => {}, onLine = () => {} }) {
  const problem = el("p", { class: "da-figure-message", role: "status", hidden: "" });
  const place = el("div", {});
  const chart = createFigure(place, { wide: WIDE, onChoose: choose });
  const files = chart.save ? createFiles({ save: chart.save, say }) : "";
  const node = el("div", { class: "da-attention-figure", hidden: "" }, files, problem, place);
  let shown = null; // {figure, state}
  let key = ""; // of the words that are chosen
  let other = null; // a line that was chosen and is no word

  function update(figure, state, lines = []) {
    const another = shown?.figure !== figure;
    shown = figure && { figure, state };
    node.hidden = !figure;
    if (!figure) return;
    const { words, selected, step } = state;
    if (key !== (key = JSON.stringify(selected))) other = null;
    const chosen = linesOf(words).filter((_, k) => isChosen(words[k], selected));
    if (another) draw(figure);
    chart.choose({ x: step.index + 1, line: other ?? chosen[0] ?? null, lines: [...chosen, ...lines] });
  }

  async function draw(figure) {
    try {
      await chart.draw(figure);
      say("");
    } catch (error) {
      say(error.message);
    }
  }

  function choose(line, at) {
    const { figure, state } = shown;
    const { x } = figure.data.find(({ meta }) => meta.line === line || meta.rows?.includes(line));
    const word = state.words[linesOf(state.words).indexOf(line)] ?? null;
    other = word ? null : line;
    // Of steps between captured ones there is a measure, but no map: the last captured one before is meant.
    onGo(Math.max(0, state.data.steps.findLastIndex(({ index }) => index + 1 <= x[at])));
    if (word) onWord(word.indices);
    else onLine(line);
  }

  function say(words) {
    problem.textContent = words;
    problem.hidden = !words;
  }

  return { node, update };
}
