// Two runs side by side: the same word at the same step, and how far apart their attention is, by step and word.

import { createMatrix } from "./attention_heat.js";
import { createAttentionPicture } from "./attention_picture.js";
import { createPlots } from "./attention_plots.js";
import { gridOf } from "./attention_film.js";
import { rangeOf } from "./attention_store.js";
import { wordText } from "./attention_stage.js";
import { isChosen, meanOver } from "./attention_words.js";
import { el } from "../core/dom.js";
import { seedWords, significant } from "../core/format.js";
import { floatsOf } from "../core/state.js";
import { term } from "../core/tips.js";

/** Create the view. */
export function createAttentionCompare({ store, onGo }) {
  const choice = el("select", { class: "da-select da-compare-run", onchange: () => store.set({ other: choice.value || null }) });
  const sides = [0, 1].map(() => {
    const picture = createAttentionPicture({ side: 192 });
    const name = el("figcaption", { dir: "auto" });
    return { picture, name, node: el("figure", { class: "da-attention-twin" }, name, picture.node) };
  });
  const told = el("p", { class: "da-compare-told" });
  const plots = createPlots({ onGo: (k) => onGo(positions[k]) });
  const matrix = createMatrix({ title: term("attention_js", "Divergence by word and step"), unit: "nats", onChoose: (row, column) => {
    if (column !== null) onGo(positions[column]);
    if (row !== null) store.choose(rows[row].indices);
  } });
  const note = el("p", { class: "da-caption" }, "Each word’s map is divided by its sum in both runs, so this compares where a word is read, not how much. Words are paired by their text: two prompts that differ in a word are compared in the others.");
  const measured = el("div", {}, told, plots.node, matrix.node, note);
  const twins = el("div", { class: "da-attention-twins" }, ...sides.map((side) => side.node));
  const absent = el("p", { class: "da-caption" });
  const node = el("div", {}, el("label", { class: "da-field" }, el("span", {}, "Compare with"), choice), twins, absent, measured);
  let rows = [];
  let positions = [];
  let offered = "";
  let matched = null;

  function update(state) {
    const { data, runs, id, other, beside } = state;
    if (!data) return;
    const others = (runs ?? []).filter((run) => run.id !== id && run.attention !== "self");
    const key = JSON.stringify(others.map((run) => run.id));
    if (key !== offered) {
      offered = key;
      choice.replaceChildren(el("option", { value: "" }, others.length ? "choose a run" : "no other run with attention"), ...others.map((run) => el("option", { value: run.id }, nameOf(run))));
    }
    choice.value = other ?? "";
    choice.disabled = !others.length;
    const found = other ? store.want("divergence", { a: id, b: other, ...store.look() }, (answer) => ({ ...answer, values: floatsOf(answer.values) })) : {};
    const answer = found.value;
    // The pictures are there even where attention cannot be compared.
    twins.hidden = !beside || !(answer || found.error);
    measured.hidden = twins.hidden || !answer;
    absent.hidden = !measured.hidden;
    absent.textContent = found.error ?? state.besideProblem ?? (other ? "Reading both runs…" : others.length ? "Two runs of one prompt, or of two prompts that differ in a word, tell most." : "Run another prompt or seed first, to have something to compare with.");
    if (!twins.hidden) drawTwins(state, answer?.tokens ?? []);
    if (!measured.hidden) drawDivergence(state, answer);
  }

  function drawTwins(state, pairs) {
    const { id, other, data, beside, step, share, selected, scale } = state;
    const pair = new Map(pairs);
    const theirs = selected.map((index) => pair.get(index)).filter((index) => index !== undefined);
    const runs = [
      { run: data, of: id, tokens: selected, where: step },
      { run: beside, of: other, tokens: theirs, where: beside.steps.find((each) => each.index === step.index) ?? null },
    ];
    const maps = runs.map(({ of, tokens }) => store.mapsOf(of, tokens).value ?? null);
    const shown = runs.map(({ run, where }, k) => (maps[k] && where ? maps[k].maps[run.steps.indexOf(where)] : null));
    // One scale for both, so that the same colour is the same weight.
    const ranges = shown.map((map, k) => map && (scale === "step" ? rangeOf(map) : maps[k])).filter(Boolean);
    const low = Math.min(...ranges.map((range) => range.low));
    const high = Math.max(...ranges.map((range) => range.high));
    runs.forEach(({ run, of, tokens, where }, k) => {
      const full = where && store.want("step_picture", { id: of, step: where.index, image: 0 }).value?.picture;
      const map = shown[k] && { map: shown[k], rows: maps[k].rows, columns: maps[k].columns, low, high };
      sides[k].picture.draw({ picture: full ?? where?.preview ?? run.image, share, ...(map ?? gridOf(run)), label: `${run.title}: ${map ? wordText(state) : "the picture"} at step ${step.index + 1}` });
      const lacks = [run.activation && !tokens.length && "has not this word", !where && "has not this step"].filter(Boolean);
      sides[k].name.textContent = [run.title, seedWords(run.run.seed), ...lacks].join(" · ");
    });
  }

  function drawDivergence(state, answer) {
    const { data, step, selected, words } = state;
    const steps = answer.steps.map((index) => ({ index }));
    positions = answer.steps.map((index) => data.steps.findIndex((each) => each.index === index));
    const column = answer.steps.indexOf(step.index);
    if (matched?.answer !== answer) matched = { answer, ...byWord(answer, words) };
    rows = matched.rows;
    const chosen = rows.flatMap((row, k) => (isChosen(row, selected) ? [k] : []));
    matrix.update({ rows, columns: steps, values: matched.values, chosen: { rows: chosen, column: column < 0 ? null : column }, label: `Divergence of two runs: ${rows.length} words, ${steps.length} steps` });
    const curves = { all: { metric: { name: "attention_js", label: "Divergence, mean over the words", unit: "nats" }, rows: [{ values: answer.by_step }] } };
    for (const k of chosen.slice(0, 1)) curves[`word ${rows[k].key}`] = { metric: { name: "attention_js", label: `Divergence of ${rows[k].text}`, unit: "nats" }, rows: [{ values: [...matched.values.subarray(k * steps.length, (k + 1) * steps.length)] }] };
    plots.update(curves, steps, Math.max(0, column));
    const most = answer.by_step.indexOf(Math.max(...answer.by_step));
    told.textContent = `Most apart at step ${answer.steps[most] + 1}: ${significant(answer.by_step[most], 3)} nats on average over the words, of ${significant(Math.LN2, 3)} at most.`;
  }

  return { node, update };
}

// The pairs of tokens as words, and their values (words x steps).
function byWord({ tokens, values, steps }, words) {
  const at = new Map(tokens.map(([index], k) => [index, k]));
  const rows = words
    .filter((group) => group.kind !== "special")
    .map((group) => ({ ...group, columns: group.indices.map((index) => at.get(index)).filter((k) => k !== undefined) }))
    .filter((group) => group.columns.length);
  const out = new Float32Array(rows.length * steps.length);
  rows.forEach((row, k) => {
    steps.forEach((_, step) => {
      out[k * steps.length + step] = meanOver(values.subarray(step * tokens.length, (step + 1) * tokens.length), row.columns);
    });
  });
  return { rows, values: out };
}

/** What a run is called in a list. */
function nameOf(run) {
  return `${run.title} · ${seedWords(run.seed)} · ${run.steps} steps`;
}
