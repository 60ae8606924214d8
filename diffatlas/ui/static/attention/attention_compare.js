// Two runs side by side: the same word at the same step, and how far apart their attention is, by step and word
// (diffatlas/figures/attention_divergence.py).

import { createAttentionFigure } from "./attention_figure.js";
import { createAttentionPicture } from "./attention_picture.js";
import { gridOf } from "./attention_film.js";
import { rangeOf } from "./attention_store.js";
import { wordText } from "./attention_stage.js";
import { el, isDark } from "../core/dom.js";
import { seedWords } from "../core/format.js";

/** Create the view. */
export function createAttentionCompare({ store, onGo, createFigure }) {
  const choice = el("select", { class: "da-select da-compare-run", onchange: () => store.set({ other: choice.value || null }) });
  const sides = [0, 1].map(() => {
    const picture = createAttentionPicture({ side: 192 });
    const name = el("figcaption", { dir: "auto" });
    return { picture, name, node: el("figure", { class: "da-attention-twin" }, name, picture.node) };
  });
  const figure = createAttentionFigure({ createFigure, onGo, onWord: store.choose });
  const twins = el("div", { class: "da-attention-twins" }, ...sides.map((side) => side.node));
  const absent = el("p", { class: "da-caption" });
  const node = el("div", {}, el("label", { class: "da-field" }, el("span", {}, "Compare with"), choice), twins, absent, figure.node);
  let offered = "";
  let last = null; // the figure of two runs, until another has come

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
    const found = other ? store.want("divergence", { a: id, b: other, ...store.look(), dark: isDark() }) : {};
    const pair = JSON.stringify([id, other]);
    if (found.value) last = { pair, figure: found.value };
    const drawn = last?.pair === pair && !found.error ? last.figure : null;
    // The pictures are there even where attention cannot be compared.
    twins.hidden = !beside || !(drawn || found.error);
    figure.update(twins.hidden ? null : drawn, state);
    absent.hidden = Boolean(drawn) && !twins.hidden;
    absent.textContent = found.error ?? state.besideProblem ?? (other ? "Reading both runs…" : others.length ? "Two runs of one prompt, or of two prompts that differ in a word, tell most." : "Run another prompt or seed first, to have something to compare with.");
    if (!twins.hidden) drawTwins(state, drawn?.layouts[1].meta.pairs ?? []);
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

  return { node, update };
}

/** What a run is called in a list. */
function nameOf(run) {
  return `${run.title} · ${seedWords(run.seed)} · ${run.steps} steps`;
}
