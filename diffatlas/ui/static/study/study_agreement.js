// How far the lanes of a study agree: in a sentence for each two of them, and in numbers.

import { el } from "../core/dom.js";
import { createDrawn } from "../figures/drawn.js";
import { significant } from "../core/format.js";
import { definitions, labelOf, versionOf } from "./study_basins.js";
import { term } from "../core/tips.js";

// Of a neighbourhood: [name in the measures, label, key of the glossary].
const NUMBERS = [
  ["rank", "rank correlation", "rank_correlation"],
  ["p", "p", null],
  ["procrustes", "Procrustes", "procrustes"],
  ["rand", "adjusted Rand", "rand_index"],
];

/**
 * Create the view in `root`. It takes the state of a sweep as well as that of a neighbourhood, of which there is a figure
 * besides.
 */
export function createAgreement(root, { server }) {
  const title = el("h3", {}, "Agreement between lanes");
  const sentences = el("ul", { class: "da-agreement-words" });
  const place = el("div", {});
  const told = definitions();
  const figure = el("div", {});
  const chart = createDrawn(figure, { server, call: "agreement_figure" });
  root.append(title, sentences, figure, place, told.node);
  let drawn = null;

  function update({ study, measures }) {
    const found = measures?.agreement ?? [];
    const maps = study.operation === "neighbourhood" && found.length > 0;
    chart.show(maps ? { id: study.id, complete: Object.values(measures.lanes).flatMap(({ cells }) => cells).length } : null);
    const next = measures ? `${study.id} ${versionOf(measures)}` : "";
    if (next === drawn) return;
    drawn = next;
    title.hidden = study.operation !== "sweep" || !measures; // elsewhere the page has one
    const words = found.length ? found.map(({ sentence }) => sentence).filter(Boolean) : measures ? ["The lanes have too little in common to be compared."] : [];
    sentences.hidden = maps; // the figure says them
    sentences.replaceChildren(...words.map((sentence) => el("li", {}, sentence)));
    place.replaceChildren(...(found.length ? [table(study, measures, found)] : []));
    // A sweep has all its definitions in one place.
    const own = study.operation === "sweep" ? {} : (measures?.definitions ?? {});
    told.write([
      ["Rank correlation", own.rank],
      ["Procrustes", own.procrustes],
      ["Adjusted Rand", own.rand],
    ]);
  }

  return { update };
}

function table(study, measures, found) {
  const called = (key) => study.lanes.find((lane) => lane.key === key)?.name ?? key;
  const curves = found.some(({ by }) => by);
  const distances = (measures.distances ?? []).map(({ key }) => key).filter((key) => found.some(({ by }) => by?.[key]));
  const heads = curves ? distances.map((key) => labelOf(measures, key)) : NUMBERS.map(([, label, key]) => (key ? term(key, label) : label));
  const count = curves ? "values" : "cells";
  const rows = found.map((pair) => {
    const numbers = curves ? distances.map((key) => pair.by?.[key]?.rho) : NUMBERS.map(([key]) => pair[key]);
    const n = curves ? Math.max(0, ...distances.map((key) => pair.by?.[key]?.n ?? 0)) : pair.n;
    return el("tr", {}, el("th", { scope: "row" }, `${called(pair.a)} and ${called(pair.b)}`), ...numbers.map((value) => el("td", {}, significant(value, 3))), el("td", {}, String(n ?? "–")));
  });
  const name = curves ? term("rank_correlation", "Spearman's rank correlation") : "lanes";
  return el(
    "div",
    { class: "da-table-box da-agreement-table", tabindex: 0, role: "region", "aria-label": "Agreement between lanes in numbers" },
    el("table", { class: "da-table" }, el("thead", {}, el("tr", {}, ...[name, ...heads, count].map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, ...rows)),
  );
}
