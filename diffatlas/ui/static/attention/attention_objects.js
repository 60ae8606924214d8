// Whether words look at the objects they name: shares in the boxes of detected objects, binding, and other seeds.

import { createAttentionFigure } from "./attention_figure.js";
import { createAttentionPicture } from "./attention_picture.js";
import { gridOf } from "./attention_film.js";
import { limits } from "./attention_store.js";
import { wordText } from "./attention_stage.js";
import { el, isDark } from "../core/dom.js";
import { seedWords, significant } from "../core/format.js";
import { term } from "../core/tips.js";

/** Create the view; `onGo(position)` is called for a step, `onOpen(id)` for a run. */
export function createObjects({ store, onGo, onOpen, createFigure }) {
  const verdict = el("p", { class: "da-objects-verdict" });
  const picture = createAttentionPicture({ side: 192 });
  const table = el("table", { class: "da-table da-objects-table" });
  const chart = createAttentionFigure({ createFigure, onGo, onWord: store.choose });
  const seeds = el("div", { class: "da-seeds" });
  const seedChart = createAttentionFigure({ createFigure, onGo, onLine: onOpen });
  const seedsNote = el("p", { class: "da-caption" });
  const seedsBox = el("section", {}, el("h3", {}, term("binding", "Binding"), " in other seeds of this prompt"), seedChart.node, seeds, seedsNote);
  const note = el(
    "p",
    { class: "da-caption" },
    "The boxes are those of the objects that an exact detector finds in the finished image; dashed is the object that a colour word should not look at.",
  );
  const body = el("div", {}, el("div", { class: "da-attention-pair" }, el("div", { class: "da-objects-picture" }, picture.node), el("div", { class: "da-attention-side" }, verdict, el("div", { class: "da-table-box" }, table))), chart.node, note, seedsBox);
  const absent = el("p", { class: "da-caption" });
  const node = el("div", {}, body, absent);

  function update(state) {
    const { data } = state;
    if (!data) return;
    const asked = data.activation ? { id: state.id, ...store.look(), dark: isDark() } : null;
    const found = store.want("objects", asked);
    const answer = found.value;
    body.hidden = !answer?.words.length;
    absent.hidden = Boolean(answer?.words.length);
    absent.textContent = !asked ? "Attention to words was not captured in this run." : (found.error ?? (answer ? "The prompt names no colour and no shape that the detector knows." : "Looking for objects…"));
    if (body.hidden) return;
    const chosen = chosenWord(state, answer.words);
    drawPicture(state, chosen, answer.binding);
    verdict.textContent = sentence(answer);
    drawTable(state, answer.words, chosen);
    chart.update(answer.figure, state);
    drawSeeds(state);
  }

  function drawPicture(state, chosen, binding) {
    const { data, maps, at, share, scale } = state;
    const map = maps && { map: maps.maps[at], rows: maps.rows, columns: maps.columns, ...limits(maps, at, scale) };
    const bound = binding?.words.find(({ word, nth }) => word === chosen.word.toLowerCase() && nth === chosen.nth);
    const boxes = bound ? [{ box: bound.own.box, own: true }, { box: bound.other.box, own: false }] : chosen.found.map(({ box }) => ({ box, own: true }));
    picture.draw({ picture: data.image ?? data.steps.at(-1).preview, share, boxes, ...(map ?? gridOf(data)), label: `The map of ${wordText(state)} at step ${state.step.index + 1} over the finished image, and the boxes of what it names` });
  }

  function drawTable(state, words, chosen) {
    const rows = words.map((word) => {
      const share = word.share[state.at];
      const lift = word.lift[state.at];
      const found = word.found.map(({ color, shape }) => `${color} ${shape}`).join(", ") || "not found";
      const cells = [found, share === null ? "–" : significant(share, 3), word.uniform === null ? "–" : significant(word.uniform, 3), lift === null ? "–" : `${significant(lift, 3)} ×`];
      const pick = el("button", { type: "button", class: "da-row", dir: "auto", onclick: () => store.choose(indicesOf(state, word)) }, word.word);
      return el("tr", { class: word === chosen ? "da-chosen" : null, onclick: () => store.choose(indicesOf(state, word)) }, el("th", { scope: "row" }, pick), ...cells.map((text) => el("td", {}, text)));
    });
    table.replaceChildren(
      el("thead", {}, el("tr", {}, ...["word", "found", "share", "if even", "ratio"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows),
    );
  }

  // Runs of this prompt, each with its binding: what do those have in common that fail?
  function drawSeeds(state) {
    const { data, runs, id } = state;
    const same = (runs ?? []).filter((run) => run.prompt === data.run.prompt && run.attention !== "self");
    const found = same.length ? store.want("bindings", { ids: same.map((run) => run.id), head: state.head, half: state.half, image: 0, first: id, dark: isDark() }) : {};
    const rows = (found.value?.runs ?? []).filter((row) => row.values);
    const others = same.some((run) => run.id !== id);
    // A prompt of one colour, or none, has no binding in any of its runs.
    seedsBox.hidden = !others || Boolean(found.error) || (found.value && !rows.length);
    if (!found.value) {
      seedsNote.textContent = `Reading ${same.length} runs…`;
      return;
    }
    seedChart.update(rows.length ? found.value.figure : null, state, [id]);
    const faces = found.value.runs.map((row) => {
      const run = same.find((each) => each.id === row.id);
      const text = row.values ? (row.holds ? "as asked" : "wrong colours") : "not both there";
      return el(
        "button",
        { type: "button", class: `da-seed-face${row.holds === false ? " da-fails" : ""}`, "aria-pressed": String(row.id === id), title: row.why, onclick: () => onOpen(row.id) },
        run?.thumb ? el("img", { src: run.thumb, alt: "" }) : null,
        el("span", {}, seedWords(row.seed)),
        el("span", {}, text),
        el("span", {}, row.values ? `mean ${significant(row.mean, 2)}` : ""),
      );
    });
    seeds.replaceChildren(...faces);
    const right = rows.filter((row) => row.holds).length;
    const text = `${right} of ${found.value.runs.length} ${found.value.runs.length === 1 ? "run has" : "runs have"} the colours as asked${rows.length - right ? `, ${rows.length - right} the wrong ones (burgundy)` : ""}. For more, set Runs to 8 and After a run to +1: each comes here. Without guidance (1) binding fails more often.`;
    if (seedsNote.textContent !== text) seedsNote.textContent = text;
  }

  return { node, update };
}

// The word that is looked at where it names something, else the first that does.
function chosenWord(state, words) {
  return words.find((word) => sameTokens(indicesOf(state, word), state.selected)) ?? words[0];
}

const sameTokens = (a, b) => a.length === b.length && a.every((index) => b.includes(index));

function indicesOf({ words }, { word, nth }) {
  const equal = words.filter((group) => group.kind === "word" && group.text.toLowerCase() === word.toLowerCase());
  return (equal[nth] ?? equal[0])?.indices ?? [];
}

function sentence({ binding, why }) {
  if (!binding) return why;
  if (binding.holds) return `The image gives both objects their colours. ${meanText(binding)}`;
  const wrong = binding.words.filter((word) => !word.holds).map((word) => `the ${word.shape} that should be ${word.word} came out ${word.own.color}`);
  return `Binding failed: ${wrong.join(", and ")}. ${meanText(binding)}`;
}

function meanText({ mean }) {
  return `Over the run the two colour words bind by ${significant(mean, 2)} on average.`;
}
