// A run's folder, as the library keeps it and `diffatlas export --format zip` packs it, as it is looked at.

import { mapOf, numbersOf } from "./opened_files.js";

const DTYPES = { F16: "float16", F32: "float32" };
const MOST_HEADER = 16e6;
const padded = (number, digits) => String(number).padStart(digits, "0");
const number = (value) => (value === "NaN" || value === "Infinity" || value === "-Infinity" ? null : value);

/** The folders of runs in files (`openFiles`): [{name, files}]. */
export function runsIn(files) {
  if (files.has("manifest.json")) return [{ name: "the run", files }];
  const folders = files.names().filter((name) => /^[^/]+\/manifest\.json$/.test(name)).map((name) => name.split("/")[0]);
  return folders.map((name) => ({ name, files: files.within(name) }));
}

/** Read one: a promise of what `createOpened` shows. */
export async function readStored(files) {
  const manifest = await files.json("manifest.json");
  if (manifest.format !== 1) throw new Error(`The run is of version ${manifest.format} of the format, and this page reads 1: export a page with a newer Diffusion Atlas.`);
  const params = manifest.params ?? {};
  const lines = (await files.text("steps.jsonl")).split("\n").slice(0, -1).map((line) => JSON.parse(line));
  if (!lines.length) throw new Error("The run has no step to show.");
  const attention = manifest.provenance?.attention ?? {};
  const layers = (attention.layers ?? []).filter((layer) => layer.kind === "cross").map((layer) => ({ id: `cross:${layer.name}`, name: layer.name }));
  const spatial = (attention.layers ?? []).some((layer) => layer.kind === "self");
  const measures = [...new Set(lines.flatMap((line) => Object.keys(line.metrics ?? {})))];
  const held = lines.some((line) => line.attention?.length);

  async function map(layer, at, token) {
    const index = lines[at].index;
    if (!lines[at].attention?.includes(layer.id)) return null;
    const name = `steps/step_${padded(index, 4)}.attention.safetensors`;
    const bytes = await files.bytes(name);
    const length = Number(new DataView(bytes).getBigUint64(0, true));
    if (length > Math.min(MOST_HEADER, bytes.byteLength - 8)) throw new Error(`${name} is damaged.`);
    const about = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)))[layer.id];
    const [from, to] = (about?.data_offsets ?? [0, 0]).map((offset) => 8 + length + offset);
    const shape = about?.shape ?? [];
    if (!(about?.dtype in DTYPES) || to > bytes.byteLength || shape.length < 4) throw new Error(`${name} holds no map that can be read here.`);
    // Of a batch the first image; maps by head are not drawn here.
    if (shape.length > 4) throw new Error("The maps are kept by head, which is not drawn here.");
    const [, ...own] = shape;
    const values = numbersOf(bytes.slice(from, to), DTYPES[about.dtype]);
    return mapOf(values.subarray(0, own[0] * own[1] * own[2]), own, token);
  }

  return {
    title: params.prompt || "A run without a prompt",
    facts: [params.model, `seed ${params.seed}`, `guidance ${params.guidance_scale}`, `${lines.length} steps`, params.scheduler, manifest.provenance?.device, manifest.provenance?.dtype, manifest.status === "complete" ? null : manifest.status],
    size: [params.height || 1, params.width || 1],
    count: lines.length,
    timestep: (at) => lines[at].timestep,
    picture: (at) => files.picture(`previews/step_${padded(lines[at].index, 4)}_00.png`),
    image: () => files.picture("images/image_00.png"),
    tokens: (attention.text ?? []).map(({ index, text, special }) => ({ index, text, special, encoder: "", word: special ? null : index, word_text: text })),
    layers: held ? layers : [],
    map,
    columns: measures.map((name) => [name.replace(/_/g, " "), (at) => number(lines[at].metrics?.[name])]),
    numbers: () => [],
    path: null,
    notes: [
      held ? "Maps are those of single layers, as the run holds them: the mean of several is not in it." : "The run was recorded without attention to words.",
      held ? "A run’s files hold no activation, entropy or reallocation: import it into Diffusion Atlas, or export it as a page, to see them." : null,
      spatial ? "The run holds attention between places too, which is not drawn here." : null,
      "A run’s files hold no path in two dimensions.",
    ],
  };
}
