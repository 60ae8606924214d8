// A bench in words: how far it is, which of its cards are missing, and what is said of a card.

import { waitText } from "../core/waits.js";
import { plural } from "../runs/library_text.js";

const VERDICTS = {
  pass: { sign: "✓", word: "pass", kind: "pass" },
  fail: { sign: "✗", word: "fail", kind: "fail" },
  "cannot judge": { sign: "?", word: "cannot judge", kind: "cannot" },
};
const UNSAID = { sign: "·", word: "not judged", kind: "none" };
const STATUS = { waiting: "not made yet", running: "being made", stopped: "stopped", failed: "failed" };

/** A verdict as {sign, word, kind}; null is one that nobody has given. */
export const verdictWords = (verdict) => VERDICTS[verdict] ?? UNSAID;

/** What a judge says of a card: its verdict, or null. "hand" is a person. */
export const saidBy = (card, judge) => (judge === "hand" ? (card.mark?.verdict ?? null) : (card.said[judge]?.[0] ?? null));

/** What became of the image of a card, where there is none, or what it waits for. */
export const statusWords = ({ status, wait }) => waitText(wait) || (STATUS[status] ?? "");

/** Whether the scorers that judge a card are not of one mind. */
export function disagree(card) {
  const verdicts = new Set(Object.values(card.said).map(([verdict]) => verdict).filter((verdict) => verdict !== "cannot judge"));
  return verdicts.size > 1;
}

// {all, complete, failed} over all lanes.
function countsOf(lanes) {
  const sum = (name) => Object.values(lanes).reduce((total, lane) => total + lane[name], 0);
  return { all: sum("all"), complete: sum("complete"), failed: sum("failed") };
}

/** Keys of the cells that are not complete, in one lane or in all; `failed`: those alone that failed. */
export function missingOf({ cells }, lane = null, failed = false) {
  return Object.entries(cells)
    .filter(([key, cell]) => cell.status !== "complete" && (!failed || cell.status === "failed") && (lane === null || key.startsWith(`${lane}-`)))
    .map(([key]) => key);
}

/** One sentence on where a bench stands; `seconds` is how long it has been asked for. */
export function standing(state, seconds = 0) {
  const { live, status, lanes, scorers } = state;
  const elapsed = seconds >= 1 ? ` ${Math.floor(seconds)} s` : "";
  if (state.opening && !state.bench) return "Opening…";
  const { all, complete, failed } = countsOf(lanes);
  const wrong = failed ? ` · ${failed} failed` : "";
  switch (status) {
    case "waiting":
      return live ? `Waiting for a turn: ${live.ahead} ahead${live.wait ? `, ${live.wait}` : `…${elapsed}`}` : "Waiting for a turn";
    case "loading":
      return `${live?.message || "Loading the model…"}${elapsed}`;
    case "running": {
      const judged = Object.values(scorers).map((scorer) => scorer.judged);
      const seen = judged.length ? ` · ${Math.min(...judged)} judged` : "";
      return `${complete} of ${plural(all, "image")}${seen}${wrong}${live?.left ? ` · ${live.left} left` : ""}`;
    }
    case "complete":
      return complete === all ? `Complete: ${plural(all, "image")}` : `Ended: ${complete} of ${plural(all, "image")}${wrong}`;
    case "stopped":
      return `Stopped: ${complete} of ${plural(all, "image")}${wrong}`;
    case "failed":
      return live?.error?.message ?? `Failed: ${complete} of ${plural(all, "image")}${wrong}`;
    default:
      return "";
  }
}
