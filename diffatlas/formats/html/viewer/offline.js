// The data of the page, and a server made of it: it answers what the app's server would, from the file alone.

import { decodeBytes, floatsOf } from "../../../ui/static/core/state.js";

/** Read the page's data: JSON, deflated, as base64. */
export async function readData(text) {
  const stream = new Blob([decodeBytes(text.trim())]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

/** The functions that the views ask, as `attention_services.py` has them. */
export function createServer(data) {
  const runs = new Map(data.runs.map((run) => [run.id, run]));
  const opened = new Map(); // "id look" -> what is drawn of it

  function lookOf({ id, layers }) {
    const run = runs.get(id);
    const name = layers ? layers[0] : "all";
    const key = `${id} ${name}`;
    if (!opened.has(key)) {
      const look = run.looks[name] ?? nothing(run);
      const maps = look.maps && openMaps(look.maps, look.tokens.length);
      opened.set(key, { ...look, maps, read: look.activation && floatsOf(look.activation) });
    }
    return opened.get(key);
  }

  // The mean over some tokens of the maps of a step.
  function wordAt({ maps }, at, tokens) {
    const out = new Float32Array(maps.rows * maps.columns);
    for (const token of tokens) {
      const map = maps.at(at, token);
      for (let k = 0; k < out.length; k++) out[k] += map[k] / tokens.length;
    }
    return out;
  }

  // How much some tokens are read at a step, as the mean over them.
  function activationAt({ read, tokens: { length } }, at, tokens) {
    return read && tokens.reduce((sum, token) => sum + read[at * length + token], 0) / tokens.length;
  }

  function joined(parts, { rows, columns }) {
    const values = new Float32Array(parts.length * rows * columns);
    parts.forEach((part, k) => values.set(part, k * rows * columns));
    return { rows, columns, values };
  }

  return {
    attention: async (asked) => {
      const run = runs.get(asked.id);
      const { maps, read, curves, ...look } = lookOf(asked);
      return { ...look, apart: false, parts: run.parts, run: run.run, title: run.title, status: run.status, steps: run.steps, images: 1, image: run.image };
    },
    word_maps: async (asked) => {
      const look = lookOf(asked);
      const { steps } = runs.get(asked.id);
      return { ...joined(steps.map((_, at) => wordAt(look, at, asked.tokens)), look.maps), activation: steps.map((_, at) => activationAt(look, at, asked.tokens)) };
    },
    words_at: async (asked) => {
      const look = lookOf(asked);
      const at = runs.get(asked.id).steps.findIndex((step) => step.index === asked.step);
      return { ...joined(asked.words.map((tokens) => wordAt(look, at, tokens)), look.maps), activation: asked.words.map((tokens) => activationAt(look, at, tokens)) };
    },
    daam: async ({ id, tokens }) => {
      const run = runs.get(id);
      const maps = openMaps(run.daam, run.kept);
      return joined([wordAt({ maps }, 0, tokens)], maps);
    },
    step_picture: async ({ id, step }) => ({ picture: runs.get(id).steps.find((each) => each.index === step)?.preview ?? null }),
    attention_curves: async (asked) => lookOf(asked).curves[asked.dark ? "dark" : "light"],
    attention_words: async (asked) => lookOf(asked).words[`${asked.special ? "all" : "prompt"}${asked.by_row ? "_by_row" : ""}`][asked.dark ? "dark" : "light"],
    divergence: async ({ a, layers, dark }) => {
      const found = data.divergence[layers ? layers[0] : "all"] ?? data.divergence.all;
      return found.error ? found : found[a === data.runs[0].id ? "first" : "second"][dark ? "dark" : "light"];
    },
  };
}

/** Maps of bytes, opened one at a time: `at(step, token)` is a map's values. */
function openMaps({ rows, columns, scales, levels }, tokens) {
  const bytes = decodeBytes(levels);
  const most = floatsOf(scales);
  const size = rows * columns;
  return {
    rows,
    columns,
    at(step, token) {
      const k = step * tokens + token;
      return Float32Array.from(bytes.subarray(k * size, (k + 1) * size), (level) => (level / 255) * most[k]);
    },
  };
}

// A run without attention: its pictures and its path alone.
function nothing() {
  return { tokens: [], layers: [], per_head: false, halves: false, entropy: null, most_entropy: 0, self_entropy: null, kl: null, spikes: [], activation: null, maps: null };
}
