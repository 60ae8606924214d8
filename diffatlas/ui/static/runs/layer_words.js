// What the list of layers says of layers that are runs, and of those that are studies.

import { seedWords } from "../core/format.js";
import { plural } from "./library_text.js";
import { sentence } from "../core/state.js";
import { NOUN } from "./study_words.js";

/**
 * Of runs: the noun, how many characters a name has, what a click does and has done, what stays
 * of a layer that is deleted, and a line on each.
 */
export const RUN_LAYERS = {
  noun: "run",
  most: 80,
  show: "Show its image and numbers",
  shown: "Its image and numbers are shown.",
  remains: "The run itself stays in the Library.",
  describe: ofRun,
};

/** Of studies of one operation. */
export const studyLayers = (operation) => ({
  noun: NOUN[operation],
  most: 120,
  show: "Bring it into view",
  shown: "It is in view.",
  remains: `The ${NOUN[operation]} itself stays, with the earlier ones below.`,
  describe: ofStudy,
});

function ofRun(layer) {
  if (layer.example) return `${seedWords(layer.seed)} · recorded earlier`;
  const parts = [seedWords(layer.seed)];
  const { status } = layer.data ?? layer;
  const steps = layer.data?.steps.length ?? layer.steps;
  const hosted = layer.data?.run?.hosted;
  // A whole run may have another number of steps than it planned.
  if (hosted) parts.push(`at ${hosted.provider}`);
  else if (status === "complete") parts.push(`${steps} steps`);
  else if (layer.live) parts.push(`${layer.total_steps} steps`);
  else if (layer.data) parts.push(lower(sentence(layer.data)));
  else parts.push(`${status}, ${steps} of ${layer.total_steps} steps`);
  if (layer.live) parts.push("in progress");
  else if (layer.unread) parts.push(layer.unread);
  else if (layer.visible && !layer.data) parts.push("loading…");
  if (!layer.visible) parts.push("hidden");
  return parts.join(" · ");
}

function ofStudy(layer, active) {
  if (layer.error) return layer.error;
  const done = layer.done === layer.cells ? plural(layer.cells, "cell") : `${layer.done} of ${plural(layer.cells, "cell")}`;
  const parts = [done, layer.live ? "in progress" : null, layer.unread, active ? "in view" : layer.visible ? null : "hidden"];
  return parts.filter(Boolean).join(" · ");
}

const lower = (text) => text.charAt(0).toLowerCase() + text.slice(1);
