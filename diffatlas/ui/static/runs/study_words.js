// A study in words and numbers: which cell is which, how far things stand, and the distances that were measured.

import { plural } from "./library_text.js";
import { colourOf } from "../figures/ramp.js";
import { BUSY } from "../core/state.js";

/** What a study is called in sentences. */
export const NOUN = { sweep: "sweep", neighbourhood: "neighbourhood" };

const DONE = ["complete", "stopped", "failed"];
const WAITING = { status: "waiting", step: 0, total: 0, preview: null, image: null, run: null, cached: false, batched: false, seconds: null, error: null, wait: null };

/** What became of a cell, as the value tells it. */
export const told = (cells, key) => cells?.[key] ?? WAITING;

/** {all, complete, failed, ended, begun, cached} of some cells of a study. */
export function counted(cells, list) {
  const states = list.map(({ key }) => told(cells, key));
  const count = (test) => states.filter(test).length;
  return {
    all: states.length,
    complete: count(({ status }) => status === "complete"),
    failed: count(({ status }) => status === "failed"),
    ended: count(({ status }) => DONE.includes(status)),
    begun: count(({ status }) => status !== "waiting"),
    cached: count((cell) => cell.status === "complete" && cell.cached),
  };
}

/** One sentence on where a study stands; `seconds` is how long it has been asked for. */
export function standing(value, seconds = 0) {
  const elapsed = seconds >= 1 ? ` ${Math.floor(seconds)} s` : "";
  const { all, complete, failed, begun, cached } = counted(value.cells, value.study?.cells ?? []);
  const also = [failed ? `${failed} failed` : null, cached ? `${cached} from the library` : null].filter(Boolean).map((part) => ` · ${part}`).join("");
  switch (value.status) {
    case "waiting":
      return `Waiting for a turn: ${value.ahead} ahead${value.wait ? `, ${value.wait}` : `…${elapsed}`}`;
    case "loading":
      return `${value.message || "Loading the model…"}${elapsed}`;
    case "running":
      return begun ? `Cell ${begun} of ${all}${also}` : "The first cell…";
    case "complete":
      return complete === all ? `Complete: ${plural(all, "cell")}${also}` : `Ended: ${complete} of ${plural(all, "cell")}${also}`;
    case "stopped":
      return all ? `Stopped: ${complete} of ${plural(all, "cell")} complete${failed ? ` · ${failed} failed` : ""}` : "Stopped before the first cell";
    case "failed":
      return value.error?.message ?? (all ? `Failed: ${complete} of ${plural(all, "cell")} complete` : `This ${NOUN[value.study?.operation] ?? "study"} failed`);
    default:
      return "Nothing has run yet";
  }
}

/** Of a cell, what tells it from the others: its label, the seed where there are several rows, the lane where there are several. */
export function nameOf(study, cell) {
  const row = study.rows.find(({ row }) => row === cell.row);
  const lane = study.lanes.find(({ key }) => key === cell.lane);
  const parts = [cell.label, study.rows.length > 1 && row ? `seed ${row.seed}` : null, study.lanes.length > 1 && lane ? lane.name : null];
  return parts.filter(Boolean).join(" · ");
}

/** The column that the others are held against, or null: the baseline of a sweep, the anchor of a neighbourhood. */
export function baselineOf({ study, measures }) {
  return measures?.baseline ?? study.spec?.baseline ?? (study.operation === "sweep" ? null : (study.columns[0]?.column ?? null));
}

/** The glossary's key of a distance. */
export const distanceTerm = (key) => ({ hash: "perceptual_hash", start: "distance" })[key] ?? `${key}_distance`;

/** What that column is called. */
export const baselineWord = (study) => (study.operation === "sweep" ? "baseline" : "anchor");

/** The caption of a cell: what was measured of it, else what was said before there was a measurement. */
export function captionOf({ measures }, cell) {
  const said = measures?.captions?.[cell.key];
  return said ? [said.asked, said.found].filter(Boolean).join(" ") : (cell.caption ?? "");
}

/** The caption that cells of a column share: without what was measured of each, once anything was. */
export function headOf({ study, measures }, column) {
  const cells = study.cells.filter((cell) => cell.lane === study.lanes[0].key && cell.column === column.column);
  return cells.map((cell) => measures?.captions?.[cell.key]?.asked).find(Boolean) ?? column.caption ?? "";
}

/** The caption of a cell under a head: what the head does not say. */
export function noteOf(state, cell) {
  const column = state.study.columns.find((each) => each.column === cell.column);
  const said = state.measures?.captions?.[cell.key];
  if (!said) return cell.caption === column?.caption ? "" : (cell.caption ?? "");
  return said.asked === headOf(state, column) ? said.found : captionOf(state, cell);
}

/** The colour of the column at `at` of `count`: from gold to burgundy, as light or as dark as the page needs. */
export function columnColour(at, count, dark) {
  const [gold, burgundy] = dark ? [0.86, 0.4] : [0.74, 0.2];
  const share = count > 1 ? at / (count - 1) : 1;
  return `rgb(${colourOf(gold + share * (burgundy - gold)).join(", ")})`;
}

/** The distances of a cell from its baseline or anchor that are known: [{key, label, about, value}]. */
export function distancesOf(state, cell) {
  const { measures } = state;
  if (!measures) return [];
  const value = state.study.operation === "sweep" ? (key) => measures.cells?.[cell.key]?.drift?.[key] : (key) => fromAnchor(state, cell, key);
  return (measures.distances ?? []).map((distance) => ({ ...distance, value: value(distance.key) ?? null })).filter((distance) => distance.value !== null);
}

function fromAnchor(state, cell, key) {
  const lane = state.measures.lanes?.[cell.lane];
  const matrix = lane?.matrices?.[key];
  if (!matrix) return null;
  const anchor = state.study.cells.find((each) => each.lane === cell.lane && each.row === cell.row && each.column === baselineOf(state));
  const [from, to] = [lane.cells.indexOf(anchor?.key), lane.cells.indexOf(cell.key)];
  return from < 0 || to < 0 ? null : matrix[from][to];
}

/** The number of a cell's basin, from 1, where there are several, and what the cell shows, where a detector named it. */
export function placeOf({ measures }, cell) {
  const lane = measures?.lanes?.[cell.lane];
  const at = lane?.cells?.indexOf(cell.key) ?? -1;
  if (at < 0) return { basin: null, shows: null };
  const { basins } = lane;
  return { basin: basins?.count > 1 ? basins.labels[at] + 1 : null, shows: lane.names?.[at] ?? null };
}

/** Whether a study, or one of its lanes, is still at work. */
export const isBusy = (status) => BUSY.includes(status);

/** A number in as few characters as a note under a frame has room for. */
export function brief(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(0).replace("-", "−");
  return (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 10 ? 1 : 3)).replace("-", "−");
}
