// The basins of a neighbourhood in words: which cells belong together, what they show, and how sure that is.
// Also how the views of a neighbourhood call and show a cell.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { plural } from "../runs/library_text.js";
import { baselineOf, told } from "../runs/study_words.js";
import { term } from "../core/tips.js";

const COLOURS = 8; // as many as the style sheet has
const NAMED = 6; // different things that are listed of one basin

/** Create the list in `root`. `onSelect(key of a cell)` is called when a picture is chosen. */
export function createBasins(root, { onSelect }) {
  const sentence = el("p", { class: "da-basins-sentence" });
  const list = el("ol", { class: "da-basins-list" });
  const numbers = el("dl", { class: "da-numbers da-basins-numbers" });
  const method = definitions();
  const head = el("h3", {});
  root.append(head, sentence, numbers, list, method.node);
  let drawn = "";
  let shots = new Map(); // key of a cell -> its button

  function update(state) {
    const lane = state.measures?.lanes?.[state.lane];
    const basins = lane?.basins ?? null;
    root.hidden = !basins;
    if (!basins) return;
    const next = [versionOf(state.measures), state.lane, ...lane.cells.map((key) => imageOf(state.cells, key))].join();
    if (next !== drawn) {
      drawn = next;
      draw(state, lane, basins);
    }
    for (const [key, shot] of shots) shot.setAttribute("aria-pressed", String(key === state.selected));
  }

  function draw({ study, cells, measures }, lane, basins) {
    head.replaceChildren(term("basin", "Basins"));
    sentence.textContent = basins.sentence ?? "";
    numbers.replaceChildren(
      ...pairs([
        [term("silhouette", "silhouette"), basins.count > 1 ? significant(basins.silhouette, 3) : null],
        ["told by", labelOf(measures, basins.on).toLowerCase()],
      ]),
    );
    shots = new Map();
    list.replaceChildren(
      ...basins.members.map((members, basin) => {
        const shown = namesOf(lane, members);
        const number = basins.count > 1 ? `Basin ${basin + 1}` : "One basin";
        return el(
          "li",
          { "data-basin": basinColour(basins, basin) },
          el("p", { class: "da-basin-head" }, el("i", { class: "da-basin-mark", "aria-hidden": "true" }), el("strong", {}, number), `, ${plural(members.length, "cell")}`),
          shown.length ? el("p", { class: "da-basin-names" }, `Shows ${shown.slice(0, NAMED).map(([name, count]) => (count > 1 ? `${name} (${count} times)` : name)).join("; ")}${shown.length > NAMED ? `; and ${shown.length - NAMED} more` : ""}.`) : null,
          el(
            "div",
            { class: "da-basin-shots" },
            ...members.map((key) => {
              const shot = el("button", { type: "button", class: "da-basin-shot", "aria-pressed": "false", "aria-label": `Choose ${calledOf(study, key)}`, title: calledOf(study, key), onclick: () => onSelect(key) }, thumb(cells, key), el("span", {}, tagOf(study, key, 8)));
              shots.set(key, shot);
              return shot;
            }),
          ),
        );
      }),
    );
    method.write([
      ["Basins", measures.definitions?.basins],
      ["Silhouette", measures.definitions?.silhouette],
    ]);
  }

  return { update };
}

/** The colour of a basin, as the value of `data-basin`, or null where there is but one. */
export function basinColour(basins, label) {
  return basins && basins.count > 1 && label !== undefined && label !== null ? String(label % COLOURS) : null;
}

/** What the pictures of some cells show, as [name, how many], the most frequent first. */
function namesOf(lane, members) {
  const counts = new Map();
  for (const key of members) {
    const name = lane.names?.[lane.cells.indexOf(key)];
    if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/** What a cell is called within a sentence: "the anchor", "neighbour 3", "the stop at t 0.33", "seed 12". */
export function calledOf(study, key) {
  const cell = study.cells.find((each) => each.key === key);
  if (!cell) return "a cell";
  const { mode } = study.spec ?? {};
  if (mode === "slerp") return cell.label.startsWith("t ") ? `the stop at ${cell.label}` : cell.label;
  if (cell.column === baselineOf({ study })) return "the anchor";
  return mode === "perturb" ? `neighbour ${cell.column}` : cell.label;
}

/** The same in a few characters, for a corner of its picture; empty where it takes more than `room`. */
export function tagOf(study, key, room = 5) {
  const cell = study.cells.find((each) => each.key === key);
  if (!cell) return "";
  if (cell.label === "anchor") return room >= 6 ? "anchor" : "A";
  const text = cell.label.split(" · ")[0].replace(/^(t|seed) /, "");
  return text.length > room ? "" : text;
}

/** The picture of a cell, or what it has of one. */
export const imageOf = (cells, key) => told(cells, key).image ?? told(cells, key).preview;

/** An image element, or an empty frame. */
export function thumb(cells, key) {
  const src = imageOf(cells, key);
  return src ? el("img", { src, alt: "", loading: "lazy", draggable: "false" }) : el("span", { class: "da-no-shot" });
}

/** The label of a distance, as the measures have it. */
export function labelOf(measures, key) {
  return (measures.distances ?? []).find((distance) => distance.key === key)?.label ?? key;
}

const INNER = { start: "start", latent: "latents", image: "image", hash: "hash", feature: "features" };

/** The name of a distance within a sentence: "start distance". */
export const distanceWord = (key) => `${(INNER[key] ?? key).replace(/s$/, "")} distance`;

/** Why there is nothing to see yet, of a view that takes the measures of a lane. */
export function absence({ study, cells, measures, measuring, unmeasured, busy }) {
  if (unmeasured && !measures) return unmeasured;
  if (measures) return "This lane has too few complete cells to measure.";
  if (busy) return "Measured once all cells have ended.";
  const some = study.cells.some(({ key }) => told(cells, key).status === "complete");
  if (!some) return "There is nothing to measure: no cell is complete.";
  return measuring === false ? "Nothing was measured of these cells." : "Measuring how far the cells lie apart…";
}

/** Definitions to be unfolded: `write([[name, sentence or nothing]])`. */
export function definitions() {
  const list = el("dl", {});
  const node = el("details", { class: "da-definitions", hidden: "" }, el("summary", {}, "How these are defined"), list);
  return {
    node,
    write(entries) {
      const known = entries.filter(([, text]) => text);
      node.hidden = !known.length;
      list.replaceChildren(...pairs(known));
    },
  };
}

/** Rows of a definition list; those without a value are left out. */
export function pairs(entries) {
  return entries.filter(([, value]) => value !== null && value !== undefined).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
}

const versions = new WeakMap();
let version = 0;

/** A number by which the same answer of the server is recognised. */
export function versionOf(answer) {
  if (!versions.has(answer)) versions.set(answer, ++version);
  return versions.get(answer);
}
