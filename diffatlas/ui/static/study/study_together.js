// Neighbourhoods in numbers beside each other: the one in view and the visible layers, a line for each lane.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { swatch } from "../figures/labels3d.js";
import { term } from "../core/tips.js";

/** Create the table: `node`, and `update(state of the view, "growth" or "growth_latent")`. */
export function createTogether() {
  const note = el("p", { class: "da-caption", role: "status" });
  const place = el("div", {});
  const node = el("section", { class: "da-together", hidden: "" }, el("h3", {}, "Beside each other"), note, place);
  let drawn = null;

  function update({ study, kept, measures }, way) {
    const { own, others, missing } = kept;
    node.hidden = !others.length && !missing;
    if (node.hidden) return;
    const words = [missing ? `Measuring ${missing === 1 ? "another neighbourhood" : `${missing} other neighbourhoods`}…` : "", study.lanes.length > 1 || others.some(({ lanes }) => lanes.length > 1) ? "The curves above are of one lane of each. Agreement is with the first lane of the same neighbourhood." : ""];
    note.textContent = words.filter(Boolean).join(" ");
    note.hidden = !note.textContent;
    const mine = { name: `${own.name} (in view)`, colour: own.colour, lanes: lanesOf(study, measures), agreement: measures.agreement ?? [] };
    const lines = others.length ? [mine, ...others].flatMap((each) => linesOf(each, way)) : [];
    const next = JSON.stringify(lines);
    if (next === drawn) return;
    drawn = next;
    place.replaceChildren(...(lines.length ? [table(lines)] : []));
  }

  return { node, update };
}

// The lanes of the study in view as the server tells those of the others.
function lanesOf(study, measures) {
  return study.lanes.map(({ key, name }) => {
    const { cells = [], growth, growth_latent: latent, jumps = [], basins } = measures.lanes?.[key] ?? {};
    return { key, name, cells: cells.length, growth, growth_latent: latent, jumps: jumps.length, basins: basins?.count ?? null, silhouette: basins?.silhouette ?? null };
  });
}

function linesOf({ name, colour, lanes, agreement }, way) {
  return lanes.map((lane, at) => {
    const { slope = null, low = null, high = null } = lane[way] ?? {};
    const interval = slope === null ? "–" : `${significant(slope, 3)}${low === null || high === null ? "" : ` (${significant(low, 3)} to ${significant(high, 3)})`}`;
    // With its first lane each further one agrees or does not.
    const agreed = agreement.find(({ a, b }) => a === lanes[0].key && b === lane.key);
    return {
      name: lanes.length > 1 ? `${name}, ${lane.name}` : name,
      colour,
      loose: at > 0,
      texts: [String(lane.cells), interval, String(lane.jumps), lane.basins === null ? "–" : String(lane.basins), significant(lane.silhouette, 3), at ? significant(agreed?.rank ?? null, 3) : "–"],
    };
  });
}

function table(lines) {
  const lanes = lines.some(({ loose }) => loose);
  const heads = ["neighbourhood", "cells", term("growth_slope", "slope at 0"), term("jump", "jumps"), term("basin", "basins"), term("silhouette", "silhouette"), term("rank_correlation", "agreement")];
  const few = (cells) => (lanes ? cells : cells.slice(0, -1));
  const rows = lines.map(({ name, colour, loose, texts }) => el("tr", {}, el("th", { scope: "row" }, swatch(colour, loose), name), ...few(texts).map((text) => el("td", {}, text))));
  return el(
    "div",
    { class: "da-table-box", tabindex: 0, role: "region", "aria-label": "Neighbourhoods beside each other in numbers" },
    el("table", { class: "da-table" }, el("thead", {}, el("tr", {}, ...few(heads).map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, ...rows)),
  );
}
