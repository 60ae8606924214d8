// Files that were dropped or chosen, by their names in the run's folder: out of a folder, or out of a zip.

import { filesOfZip } from "../../../ui/static/core/zip.js";

const MOST_BYTES = 500e6;
const MOST_JSON = 32e6;
/** A JSON string, or what some tools write where a number is not known. */
const BARE = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g;

/** Open [{path, file}]: a promise of {named, has, text, json, bytes, within}. A single zip is opened; one folder around
 * everything is passed over. Throws an Error with a sentence. */
export async function openFiles(chosen) {
  const alone = chosen.length === 1 ? chosen[0] : null;
  const zipped = alone && (await alone.file.slice(0, 2).text()) === "PK";
  const listed = zipped ? await filesOfZip(alone.file) : chosen.map(({ path, file }) => ({ path, size: file.size, file: async () => file }));
  const size = listed.reduce((sum, each) => sum + each.size, 0);
  if (size > MOST_BYTES) throw new Error(`These files take ${Math.round(size / 1e6)} MB, more than the ${MOST_BYTES / 1e6} MB that are opened here: import them into Diffusion Atlas.`);
  return folderOf(new Map(listed.filter(({ path }) => !/(^|\/)(__MACOSX|\.)/.test(path)).map((each) => [each.path, each])));
}

function folderOf(files) {
  const tops = new Set([...files.keys()].map((path) => (path.includes("/") ? path.slice(0, path.indexOf("/") + 1) : "")));
  const [top] = tops;
  if (tops.size === 1 && top) return folderOf(inside(files, top));

  async function blob(name, most = MOST_BYTES) {
    const found = files.get(name);
    if (!found) throw new Error(`${name} is missing in the folder.`);
    if (found.size > most) throw new Error(`${name} is larger than ${Math.round(most / 1e6)} MB.`);
    return found.file();
  }

  const text = async (name) => (await blob(name, MOST_JSON)).text();

  /** An object of JSON; what is not known is null. `otherwise` is given where there is no such file. */
  async function json(name, otherwise) {
    if (otherwise !== undefined && !files.has(name)) return otherwise;
    let found = null;
    try {
      found = JSON.parse((await text(name)).replace(BARE, (part) => (part.startsWith('"') ? part : "null")));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    if (typeof found !== "object" || !found) throw new Error(`${name} is no JSON object.`);
    return found;
  }

  return {
    names: () => [...files.keys()],
    has: (name) => files.has(name),
    text,
    json,
    bytes: async (name) => (await blob(name)).arrayBuffer(),
    within: (folder) => folderOf(inside(files, `${folder}/`)),
    /** A PNG as an address for an image, or null where there is none. */
    async picture(name) {
      if (typeof name !== "string" || !files.has(name)) return null;
      const bytes = await (await blob(name)).arrayBuffer();
      return addressOf(new Blob([bytes], { type: "image/png" }));
    },
  };
}

const inside = (files, top) => new Map([...files].filter(([path]) => path.startsWith(top)).map(([path, each]) => [path.slice(top.length), each]));

function addressOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("A picture cannot be read."));
    reader.readAsDataURL(blob);
  });
}

/** Numbers of a file: little-endian float16 or float32. */
export function numbersOf(buffer, dtype) {
  if (dtype !== "float16") return new Float32Array(buffer.slice(0));
  return Float32Array.from(new Uint16Array(buffer.slice(0)), (half) => {
    const [sign, exponent, rest] = [half & 0x8000 ? -1 : 1, (half >> 10) & 31, half & 1023];
    if (exponent === 31) return rest ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -24 * rest);
  });
}

/** The map of one token of maps [tokens, rows, columns]. Throws an Error where the numbers are not those. */
export function mapOf(values, [tokens, rows, columns], token) {
  if (values.length !== tokens * rows * columns || !(token < tokens)) throw new Error("The file is not of the size that the folder says.");
  return { rows, columns, map: values.subarray(token * rows * columns, (token + 1) * rows * columns) };
}
