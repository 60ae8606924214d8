// What the 3D view draws: the run in progress in its own frame, or the layers in their common projection.

import { BUSY, decodeFloats } from "../core/state.js";

/**
 * Choose from the page's state. `before` is what was chosen last, or null. Returns
 * {kind, layers, several, coords: Map of id to points, view: "pca" or "umap", axes, note} with kind
 * "live" (a run in progress, alone), "own" (one run in its own axes, until it is projected with the others),
 * "common", "error" (note says why), "waiting" or "empty".
 */
export function chooseSource(state, before) {
  const { live, projection } = state;
  const placed = projection?.coords ?? {};
  const message = projection?.message ?? "";

  if (live?.run && live.points && BUSY.includes(live.status) && !placed[live.run.id]) {
    const layer = state.layers.find((one) => one.id === live.run.id || one.data === live) ?? {
      id: live.run.id,
      name: "This run",
      locked: false,
      colour: "var(--da-ink)",
      data: live,
    };
    const others = state.layers.length - state.layers.includes(layer);
    return alone("live", layer, others ? "The other layers come back when the run ends." : "");
  }
  if (state.projectionError) return nothing("error", state.projectionError);

  const held = before && (before.kind === "live" || before.kind === "own") ? before.layers[0].id : null;
  const ended = state.layers.find((layer) => layer.id === held && layer.data.points && !placed[layer.id]);
  if (ended) return alone("own", ended);

  const layers = state.layers.filter((layer) => placed[layer.id]?.length);
  if (layers.length) {
    return {
      kind: "common",
      layers,
      several: state.layers.length > 1,
      coords: new Map(layers.map((layer) => [layer.id, placed[layer.id]])),
      view: projection.view,
      axes: projection.axes,
      note: message || caution(projection.view, layers.reduce((sum, layer) => sum + placed[layer.id].length, 0)),
    };
  }
  if (state.layers.length === 1 && state.layers[0].data.points) return alone("own", state.layers[0]);
  const some = state.layers.some((layer) => layer.data.steps.length);
  return some ? nothing("waiting", message || "Placing the layers…") : nothing("empty", "");
}

// UMAP looks at the 15 nearest of each point: of fewer than that, every point is near every other.
const FEW = 15;

/** What to say of so few points in UMAP's view, or "". */
function caution(view, count) {
  return view === "umap" && count <= FEW ? `Only ${count} points: UMAP may show groups that are not there. PCA is the safer view.` : "";
}

function alone(kind, layer, note = "") {
  const coords = new Map([[layer.id, decoded(layer.data.points)]]);
  return { kind, layers: [layer], several: false, coords, view: "pca", axes: layer.data.axes, note };
}

function nothing(kind, note) {
  return { kind, layers: [], several: false, coords: new Map(), view: "pca", axes: null, note };
}

// The same text gives the same array, so that what has not moved is recognised.
let last = { text: "", points: null };

function decoded(text) {
  if (text !== last.text) last = { text, points: decodeFloats(text) };
  return last.points;
}
