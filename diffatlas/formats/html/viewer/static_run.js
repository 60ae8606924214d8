// A static run folder as it is looked at: its own pictures, maps and numbers.

import { mapOf, numbersOf } from "./opened_files.js";

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" ? value : {});
const named = (value) => (typeof value === "string" ? value : "");

/** Read a folder (`openFiles`): a promise of what `createOpened` shows. */
export async function readStatic(files) {
  const metadata = await files.json("metadata.json");
  if (!Number.isInteger(metadata.steps) || metadata.steps < 1 || metadata.steps > 10000) throw new Error("metadata.json does not say how many steps there are.");
  const [metrics, pca, measured] = await Promise.all([files.json("metrics.json", {}), files.json("latent_pca.json", {}), files.json("diffatlas_measured.json", null)]);
  const own = object(metadata.diffatlas);
  const [generator, prompt] = [object(metadata.generator), object(metadata.prompt)];
  const images = list(metadata.images);
  const entries = list(metadata.attention_files).filter((entry) => entry && typeof entry === "object");
  const layers = list(metadata.layers)
    .filter((layer) => layer && entries.some((entry) => entry.layer_id === layer.id && entry.attention_type === "cross"))
    .map((layer) => ({ id: layer.id, name: named(layer.processor_key).replace(/\.processor$/, "") || named(layer.id) }));
  const spatial = entries.some((entry) => entry.attention_type === "self");
  const cross = list(metrics.cross_attention_entropy);
  const self = list(metrics.self_attention_entropy);
  const points = list(pca.points);

  // What was measured of a layer's own maps, where the folder has our file of it.
  function ofLayer(layer, at, token) {
    const place = list(measured?.steps).indexOf(at);
    const found = list(measured?.layers).find((each) => each?.kind === "cross" && each.name === layer?.name);
    if (!found || place < 0) return [];
    return [
      ["entropy of the layer’s own maps", list(found.entropy)[place]],
      ["reallocation of its own maps", list(found.kl)[place]],
      ["activation in its own maps", list(list(found.activation)[place])[token]],
    ];
  }

  return {
    title: named(prompt.text) || "A static run folder",
    facts: [named(generator.model_id), `seed ${generator.seed ?? "–"}`, `guidance ${generator.cfg_scale ?? "–"}`, `${metadata.steps} steps`, named(own.scheduler), named(generator.dtype)],
    size: [generator.height || 1, generator.width || 1],
    count: metadata.steps,
    timestep: (at) => list(metadata.timesteps)[at],
    picture: (at) => files.picture(images[at]),
    image: () => files.picture(named(own.final_image) || images.at(-1)),
    tokens: tokensOf(own, prompt),
    layers,
    async map(layer, at, token) {
      const entry = entries.find((each) => each.layer_id === layer.id && each.step === at && each.attention_type === "cross");
      if (!entry) return null;
      const shape = list(entry.shape);
      if (shape.length !== 3 || !files.has(entry.path)) throw new Error(`The maps of this step are missing in the folder (${named(entry.path).slice(0, 80)}).`);
      return mapOf(numbersOf(await files.bytes(entry.path), entry.dtype), shape, token);
    },
    columns: [
      ["norm", (at) => list(metrics.latent_l2_norm)[at]],
      ["norm of the prediction", (at) => list(metrics.predicted_noise_l2_norm)[at]],
      ["cosine to the step before", (at) => list(metrics.cosine_similarity_to_previous)[at]],
      ["entropy, mean of layers", (at) => cross[at]?.mean],
      ["entropy between places", (at) => self[at]?.mean],
      ["KL divergence", (at) => list(metrics.attention_kl_divergence)[at]],
      ["reallocation", (at) => list(metrics.attention_kl_divergence_by_place)[at]],
    ],
    numbers: (layer, at, token) => [
      ["activation, mean of layers", list(list(metrics.mean_token_activation)[at])[token]],
      ["entropy of the layer, by the contract", object(cross[at]?.by_layer)[layer?.id]],
      ...ofLayer(layer, at, token),
    ],
    path: points.length > 1 && points.every((point) => list(point).length === 2 && point.every(Number.isFinite)) ? { coords: [points], axes: list(pca.explained_variance_ratio).map(Number), from: 1 } : null,
    notes: [
      "Maps are those of single layers, as the folder has them: the mean of several is not in it.",
      measured ? null : "Numbers are those of metrics.json. What was measured of the layers’ own maps (diffatlas_measured.json) is not in the folder.",
      spatial ? "The folder holds attention between places too, which is not drawn here." : null,
      points.length > 1 ? null : "The folder holds no path of the latents.",
    ],
  };
}

/** The tokens as `Token.to_dict` has them, each a word of its own. */
function tokensOf(own, prompt) {
  const spelled = list(own.tokens).length ? list(own.tokens).map((token) => [named(token?.text), Boolean(token?.special)]) : list(prompt.tokens).map((token) => [String(token).replace(/<\/w>$/, ""), /^<\|.*\|>$/.test(String(token))]);
  return spelled.map(([text, special], index) => ({ index, text, special, encoder: "", word: special ? null : index, word_text: text }));
}
