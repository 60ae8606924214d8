// Where a place of the picture looks: self-attention, from a place that is chosen on the picture.

import { createAttentionPicture } from "./attention_picture.js";
import { gridOf } from "./attention_film.js";
import { firstMap, layerOptions } from "./attention_stage.js";
import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { term } from "../core/tips.js";

/** Create the view; `store` takes the place and the layers. */
export function createPlaces({ store }) {
  const readout = el("span", { class: "da-readout" });
  const picture = createAttentionPicture({
    onPlace: (x, y) => store.set({ place: [x, y] }),
    onRead: (value, row, column) => (readout.textContent = value === null ? "" : `row ${row + 1}, column ${column + 1}: ${significant(value, 3)} times the average`),
  });
  const layers = el("select", { class: "da-select", onchange: () => store.set({ ownLayers: layers.value ? JSON.parse(layers.value) : null }) });
  const told = el("p", {});
  const note = el("p", { class: "da-caption" }, "Click a place, or move it with the arrow keys, to see where it looks (", term("self_attention", "self-attention"), "). 1 is the average over the picture; the colours begin at 0.");
  const side = el("div", { class: "da-attention-side" }, el("label", { class: "da-field" }, el("span", {}, "Layers"), layers), told, readout, note);
  const box = el("div", { class: "da-attention-pair" }, el("div", { class: "da-attention-large" }, picture.node), side);
  const absent = el("p", { class: "da-caption" });
  const node = el("div", {}, box, absent);
  let offered = null;

  function update(state) {
    const { data, step, place, share } = state;
    const own = data?.layers.some((layer) => layer.kind === "self");
    box.hidden = !own;
    absent.hidden = own || !data;
    absent.textContent = "Attention between places was not captured in this run: run it again with “Words and places” chosen under Capture.";
    if (!own) return;
    if (offered !== data) {
      offered = data;
      layers.replaceChildren(...layerOptions(data, "self"));
    }
    layers.value = state.ownLayers ? JSON.stringify(state.ownLayers) : "";
    const found = store.want("looks_at", { id: state.id, step: step.index, place, ...store.look({ layers: state.ownLayers }) }, firstMap);
    const map = found.value && { ...found.value, low: 0 };
    const full = store.want("step_picture", { id: state.id, step: step.index, image: 0 }).value?.picture;
    picture.draw({ picture: full ?? step.preview ?? data.image, share, place, ...(map ?? gridOf(data)), label: `Where the chosen place looks at step ${step.index + 1}; the arrow keys move it` });
    told.textContent = found.error ?? (map ? `Step ${step.index + 1}. ${sentence(map, place)}` : "Reading…");
  }

  return { node, update };
}

// Where it looks most, and how much at itself.
function sentence({ map, rows, columns, high }, [x, y]) {
  const at = map.indexOf(high);
  const [row, column] = [Math.floor(at / columns), at % columns];
  const own = map[Math.floor(y * rows) * columns + Math.floor(x * columns)];
  return `It looks most at row ${row + 1}, column ${column + 1}: ${significant(high, 3)} times the average. At itself: ${significant(own, 3)} times.`;
}
