// The cards of a bench in their order, and which of them a filter leaves.

import { disagree, saidBy } from "./bench_words.js";

/** The filters as they are at first; a judge is chosen once there is one. */
export const NO_FILTERS = { tag: "", lane: "", verdict: "", judge: "", blind: false };

/** What `verdict` of the filters may be: [value, label, whether it can be told while judging blindly]. */
export const BY_VERDICT = [
  ["", "all", true],
  ["pass", "pass", false],
  ["fail", "fail", false],
  ["cannot judge", "cannot judge", false],
  ["none", "not judged", false],
  ["unmarked", "not marked by hand", true],
  ["marked", "marked by hand", true],
  ["against", "hand and judge disagree", false],
  ["split", "judges disagree", false],
  ["missing", "no image", true],
];

/** The cards that `filters` leave, by prompt, lane and seed: [{key, task, lane, seed}]. */
export function deckOf(bench, cells, filters) {
  const { tasks, lanes, seeds } = bench;
  const found = [];
  tasks.forEach((task, row) => {
    if (filters.tag && task.tag !== filters.tag) return;
    for (const lane of lanes) {
      if (filters.lane && lane.key !== filters.lane) continue;
      seeds.forEach((seed, column) => {
        const key = `${lane.key}-${row}-${column}`;
        const card = cells[key];
        if (card && passes(card, filters)) found.push({ key, task, lane, seed });
      });
    }
  });
  return found;
}

/** The judge whose verdicts are shown: the one that was chosen, or the first. */
export const judgeOf = (bench, filters) => (bench.scorers.some(({ name }) => name === filters.judge) ? filters.judge : (bench.scorers[0]?.name ?? "hand"));

function passes(card, { verdict, judge }) {
  const said = saidBy(card, judge);
  switch (verdict) {
    case "":
      return true;
    case "none":
      return card.status === "complete" && said === null;
    case "unmarked":
      return card.status === "complete" && !card.mark;
    case "marked":
      return Boolean(card.mark);
    case "against":
      return Boolean(card.mark && said && card.mark.verdict !== said);
    case "split":
      return disagree(card);
    case "missing":
      return card.status !== "complete";
    default:
      // What a person says counts in the place of what a judge does.
      return card.status === "complete" && (card.mark?.verdict ?? said) === verdict;
  }
}
