// A run out of a folder that was dropped on the page: pictures, maps and numbers as its files hold them.

import { createAttentionPicture } from "../../../ui/static/attention/attention_picture.js";
import { rangeOf } from "../../../ui/static/attention/attention_store.js";
import { createWords } from "../../../ui/static/attention/attention_words.js";
import { el } from "../../../ui/static/core/dom.js";
import { createPathPlot } from "./path_plot.js";

const spelled = (value) => (typeof value === "number" && Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "–");

/** Create the view of a run that `readStatic` or `readStored` read. */
export function createOpened(run) {
  const words = createWords({ onSelect: ([token]) => set({ token }) });
  const layer = el("select", { class: "da-select", onchange: () => set({ layer: Number(layer.value) }) }, ...run.layers.map(({ name }, k) => el("option", { value: k }, name)));
  const timeline = el("input", { type: "range", min: 0, max: run.count - 1, step: 1, class: "da-slider da-opened-timeline", "aria-label": "Step", oninput: () => set({ at: Number(timeline.value) }) });
  const shownAt = el("output", { class: "da-opened-at" });
  const readout = el("span", { class: "da-readout" });
  const picture = createAttentionPicture({ onRead: (value, row, column) => (readout.textContent = value === null ? "" : `row ${row + 1}, column ${column + 1}: ${spelled(value)}`) });
  const note = el("p", { class: "da-caption" });
  const final = el("img", { alt: "The finished image", hidden: "" });
  const numbers = el("dl", { class: "da-numbers da-opened-numbers" });
  const known = run.columns.filter(([, value]) => Array.from({ length: run.count }, (_, at) => value(at)).some(Number.isFinite));
  const rows = Array.from({ length: run.count }, (_, at) => el("tr", { onclick: () => set({ at }) }, el("th", { scope: "row" }, String(at + 1)), ...known.map(([, value]) => el("td", {}, spelled(value(at))))));
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "step"), ...known.map(([name]) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...rows));
  const path = run.path ? createPathPlot({ path: run.path, names: [run.title], onGo: (_, state) => set({ at: state }) }) : null;
  const attended = run.layers.length > 0 && run.tokens.length > 0;
  const state = { at: run.count - 1, layer: 0, token: (run.tokens.find((token) => !token.special && token.text.length > 2) ?? run.tokens[0])?.index ?? 0 };
  let asked = 0;

  const node = el(
    "div",
    { class: "da-viewer da-attention da-offline da-opened" },
    el("div", { class: "da-offline-run" }, el("h1", { dir: "auto", tabindex: -1 }, run.title), el("p", {}, run.facts.filter(Boolean).join(" · ")), ...run.notes.filter(Boolean).map((text) => el("p", { class: "da-opened-note" }, text))),
    attended ? words.node : null,
    el("div", { class: "da-opened-steps" }, timeline, shownAt),
    el(
      "div",
      { class: "da-opened-stage" },
      el("figure", { class: "da-attention-large" }, picture.node, el("div", { class: "da-attention-below" }, note, readout)),
      el("div", { class: "da-opened-side" }, attended ? el("label", { class: "da-field" }, el("span", {}, "Layer"), layer) : null, numbers, final),
    ),
    known.length ? el("div", { class: "da-opened-table", tabindex: 0, role: "region", "aria-label": "The numbers of every step" }, table) : null,
    path?.node ?? null,
  );

  function set(changes) {
    Object.assign(state, changes);
    update();
  }

  async function update() {
    const mine = ++asked;
    const { at, token } = state;
    const chosen = run.layers[state.layer];
    timeline.value = at;
    shownAt.textContent = `step ${at + 1} of ${run.count}, t ${spelled(run.timestep(at))}`;
    words.update({ tokens: run.tokens, selected: [token], weights: null });
    rows.forEach((row, k) => row.toggleAttribute("aria-current", k === at));
    path?.mark([at]);
    const told = [...run.numbers(chosen, at, token), ...known.map(([name, value]) => [name, value(at)])].filter(([, value]) => Number.isFinite(value));
    numbers.replaceChildren(...told.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, spelled(value))]));
    const [source, map] = await Promise.all([run.picture(at).catch(() => null), attended ? run.map(chosen, at, token).catch((error) => error) : null]);
    if (mine !== asked) return;
    const found = map && !(map instanceof Error) ? map : null;
    const [height, width] = run.size;
    const label = found ? `The map of ${run.tokens[token]?.text ?? ""} in ${chosen.name} at step ${at + 1}` : `Step ${at + 1}`;
    picture.draw({ picture: source, ...(found ? { ...found, ...rangeOf(found.map) } : { rows: height, columns: width }), label });
    note.textContent = map instanceof Error ? map.message : found ? "The darkest and the brightest colour are the least and the most of this map." : attended ? "There is no map of this layer at this step." : source ? "" : "There is no picture of this step.";
  }

  run.image().then(
    (source) => {
      final.hidden = !source;
      if (source) final.src = source;
    },
    () => {},
  );
  update();
  return node;
}
