// The chosen word's map over the whole run, and beside it at the chosen step; what is looked at, and its numbers.

import { createAttentionPicture } from "./attention_picture.js";
import { gridOf } from "./attention_film.js";
import { limits, rangeOf, readMaps } from "./attention_store.js";
import { isChosen } from "./attention_words.js";
import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { gradient } from "../figures/ramp.js";
import { term } from "../core/tips.js";

const PARTS = { down: "the way down", mid: "the middle", up: "the way up", first: "the first third", middle: "the middle third", last: "the last third" };

/** Create the stage; `store` takes what is chosen. Its parts are `whole`, `node` (the step) and `side`. */
export function createStage({ store }) {
  const readout = el("span", { class: "da-readout" });
  const picture = createAttentionPicture({ onRead: read });
  const legend = createLegend();
  const controls = createControls(store);
  const numbers = el("dl", { class: "da-numbers da-attention-numbers" });
  const whole = createAttentionPicture();
  const wholeNote = el("span", {});
  const wholeLegend = createLegend();
  const wholeBox = el("figure", { class: "da-attention-whole" }, el("figcaption", { class: "da-plot-title" }, term("daam", "Over the whole run")), whole.node, el("div", { class: "da-attention-below" }, wholeLegend.node, wholeNote));
  const side = el("div", { class: "da-attention-side" }, controls.node, numbers);
  const title = el("figcaption", { class: "da-plot-title" });
  const node = el("figure", { class: "da-attention-large" }, title, picture.node, el("div", { class: "da-attention-below" }, legend.node, readout));
  let state = null;

  function read(value, row, column) {
    readout.textContent = value === null ? "" : `row ${row + 1}, column ${column + 1}: ${significant(value)}`;
  }

  function update(next) {
    state = next;
    const { data, step, maps, at, scale, share } = state;
    side.hidden = !data;
    if (!data) return;
    controls.update(state);
    const map = maps && { map: maps.maps[at], rows: maps.rows, columns: maps.columns, ...limits(maps, at, scale) };
    const full = store.want("step_picture", { id: state.id, step: step.index, image: 0 }).value?.picture;
    const word = wordText(state);
    const source = full ?? step.preview ?? data.image;
    const what = full || step.preview ? "what the model expects to draw" : "the finished image";
    const label = data.activation ? `The map of ${word} at step ${step.index + 1}, over ${what}` : `At step ${step.index + 1}: ${what}`;
    title.textContent = `At step ${step.index + 1}`;
    picture.draw({ picture: source, share, ...(map ?? gridOf(data)), label });
    legend.update(map, state.mapsProblem ?? (data.activation ? null : "Attention to words was not captured in this run."));
    drawNumbers(word, map);
    drawWhole();
  }

  function drawNumbers(word, map) {
    const { data, at, maps } = state;
    const rows = [];
    if (data.activation) {
      rows.push(["word", word, "word_map"]);
      rows.push(["activation", significant(maps?.activation[at]), "activation"]);
      if (map) rows.push(["map", rangeText(map.map)]);
      if (maps) rows.push(["cells", `${maps.rows} × ${maps.columns}`]);
      rows.push(["entropy", `${significant(data.entropy[at], 3)} of ${significant(data.most_entropy, 3)}`, "attention_entropy"]);
      const moved = data.kl[at] === null ? "–" : significant(data.kl[at], 3);
      rows.push(["reallocation", data.spikes.includes(state.step.index) ? `${moved}, a spike` : moved, "attention_kl"]);
      if (data.rests_on) rows.push(["means", data.rests_on]);
      if (data.measured_on) rows.push(["measured", data.measured_on]);
    }
    numbers.replaceChildren(...rows.flatMap(([name, text, key]) => [el("dt", {}, key ? term(key, name) : name), el("dd", { dir: "auto" }, text)]));
  }

  function drawWhole() {
    const { data, selected, share, head, half, id } = state;
    wholeBox.hidden = !data.activation;
    if (!data.activation) return;
    const found = store.want("daam", { id, tokens: selected, head, half, image: 0 }, firstMap);
    const map = found.value;
    whole.draw({ picture: data.image ?? data.steps.at(-1).preview, share, ...(map ?? gridOf(data)), label: `The map of ${wordText(state)} over the whole run` });
    wholeLegend.update(map && { ...map, ...rangeOf(map.map) }, "");
    const text = found.error ?? (map ? "over the finished image" : "Reading every step…");
    if (wholeNote.textContent !== text) wholeNote.textContent = text;
  }

  return { whole: wholeBox, node, side, update };
}

function rangeText(values) {
  const { low, high } = rangeOf(values);
  return `${significant(low, 3)} to ${significant(high, 3)}`;
}

/** The chosen words as text. */
export function wordText({ words, selected, data }) {
  const chosen = words.filter((group) => isChosen(group, selected)).map((group) => group.text);
  return chosen.length ? chosen.join(" ") : selected.map((index) => data.tokens[index]?.text ?? "").join(" ");
}

/** The one map of an answer, ready to be drawn. */
export function firstMap(answer) {
  const { maps, ...rest } = readMaps(answer);
  return { map: maps[0], ...rest };
}

function createLegend() {
  const bar = el("span", { class: "da-ramp", "aria-hidden": "true" });
  bar.style.backgroundImage = gradient();
  const low = el("span", {});
  const high = el("span", {});
  const node = el("div", { class: "da-map-legend" });

  function update(map, problem) {
    if (map) {
      low.textContent = significant(map.low, 2);
      high.textContent = significant(map.high, 2);
      node.replaceChildren(low, bar, high);
    } else node.replaceChildren(problem ?? "Reading the maps…");
  }

  return { node, update };
}

function createControls(store) {
  const layers = el("select", { class: "da-select", onchange: () => store.set({ layers: layers.value ? JSON.parse(layers.value) : null }) });
  const head = el("select", { class: "da-select", onchange: () => store.set({ head: head.value === "" ? null : Number(head.value) }) });
  const half = el("select", { class: "da-select", onchange: () => store.set({ half: half.value }) }, el("option", { value: "cond" }, "for the prompt"), el("option", { value: "uncond" }, "for the negative prompt"));
  const strength = el("input", { type: "range", min: 0, max: 1, step: 0.05, class: "da-slider", oninput: () => store.set({ share: Number(strength.value) }) });
  const scale = el("select", { class: "da-select", onchange: () => store.set({ scale: scale.value }) }, el("option", { value: "word" }, "each word its own"), el("option", { value: "all" }, "one for all words"), el("option", { value: "step" }, "each step its own"));
  const field = (label, control) => el("label", { class: "da-field" }, el("span", {}, label), control);
  const headField = field(term("head", "Head"), head);
  const halfField = field(term("half", "Half"), half);
  const node = el("div", { class: "da-attention-controls" }, field("Layers", layers), headField, halfField, field("Colours", scale), field("Strength", strength));
  let offered = "";

  function update(state) {
    const { data } = state;
    const key = JSON.stringify([state.id, state.layers]);
    if (offered !== key) {
      offered = key;
      layers.replaceChildren(...layerOptions(data, "cross"));
      head.replaceChildren(el("option", { value: "" }, "mean of all"), ...Array.from({ length: headsOf(state) }, (_, k) => el("option", { value: k }, `head ${k}`)));
    }
    headField.hidden = !data.per_head;
    halfField.hidden = !data.halves;
    node.hidden = !data.activation;
    layers.value = state.layers ? JSON.stringify(state.layers) : "";
    head.value = state.head ?? "";
    half.value = state.half;
    scale.value = state.scale;
    strength.value = state.share;
  }

  return { node, update };
}

// The heads that every layer has that is looked at.
function headsOf({ data, layers }) {
  const there = data.layers.filter((layer) => layer.kind === "cross" && (!layers || layers.includes(layer.name) || layers.includes(layer.block)));
  return there.length ? Math.min(...there.map((layer) => layer.heads)) : 0;
}

/** Options of a choice of layers of a kind: all, the parts of the model, and each one unless `data.apart` is false. The
 * value is a list as JSON. `data.parts`, {name: which layers}, are the parts where not all can be looked at. */
export function layerOptions(data, kind) {
  const there = data.layers.filter((layer) => layer.kind === kind);
  const blocks = [...new Set(there.map((layer) => layer.block))].filter((block) => block in PARTS);
  const parts = data.parts ? Object.entries(data.parts) : blocks.length > 1 ? blocks.map((block) => [block, block]) : [];
  return [
    el("option", { value: "" }, there.length === 1 ? "the one there is" : `the mean of all ${there.length}`),
    ...parts.map(([part, which]) => el("option", { value: JSON.stringify([part]) }, `${PARTS[part]} (${which})`)),
    ...(there.length > 1 && data.apart !== false ? there.map((layer) => el("option", { value: JSON.stringify([layer.name]) }, `${shortName(layer.name)} · ${layer.grid.join(" × ")}`)) : []),
  ];
}

// down_blocks.0.attentions.1.transformer_blocks.0.attn2 as down 0.1.0: what tells it from the others.
function shortName(name) {
  return name
    .replace(/\.?(attn\d?|processor|self_attn|attention)$/, "")
    .replace(/_blocks?(?=\.|$)/g, "")
    .replace(/\.attentions\./g, ".")
    .replace(/\.transformer\./g, ".")
    .replace(/\./g, " ")
    .trim();
}
