// The state of the Attention page: which run is looked at and how, and what the server answered. An answer is asked
// for when it is first wanted and kept; what is drawn is drawn from what is here.

import { ask } from "../core/ask.js";
import { isChosen, wordsOf } from "./attention_words.js";
import { remember, remembered } from "../core/remember.js";
import { BUSY, floatsOf } from "../core/state.js";

export const VIEWS = ["words", "steps", "curves", "places", "objects", "compare"];
const MOST_ANSWERS = 240;
/** What the colours range over: a word over the run, all words together, or each step by itself. */
const SCALES = ["word", "all", "step"];

/** Create the store. `onChange()` is called after every change, never while one is being made. `views` are those there
 * are, the first of them shown at first. `start`: {id, others} of the recorded example that is shown while there is no
 * run, and of others that can be, or null. */
export function createAttentionStore({ server, onChange, views = VIEWS, start = null }) {
  let value = null; // the run in progress, or the last one of this page
  let runs = null; // those with attention, the newest first
  let id = null; // of the run that is looked at
  let other = null; // of the run beside it
  let selected = []; // indices of tokens
  let chosenText = null; // the word that was chosen by hand, in lower case
  let settledFor = null; // the run that the choices fit
  let at = null; // position among the captured steps; null for the last
  let place = [0.5, 0.5];
  let layers = null; // names of layers of cross-attention, or null for all
  let ownLayers = null; // the same of self-attention
  let head = null;
  let half = "cond";
  let view = remembered("attention-view", views, views[0]);
  let scale = remembered("attention-scale", SCALES, "word");
  let share = Number(remembered("attention-share", null, "0.65"));
  let problem = null;
  let shownRequest = null; // request of the live run that was opened at its end
  let queued = false;
  let drawn = { id: null, data: null }; // what was described last
  const answers = new Map(); // what was asked, as text -> {value} or {error} or {}

  function changed() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      onChange();
    });
  }

  /** The answer to a question: {value}, {error: text}, or {} while it is on its way. null asks nothing. */
  function want(name, asked, read = (answer) => answer) {
    if (!asked) return {};
    const key = `${name} ${JSON.stringify(asked)}`;
    const known = answers.get(key);
    if (known) return known;
    const entry = {};
    answers.set(key, entry);
    if (answers.size > MOST_ANSWERS) answers.delete(answers.keys().next().value);
    ask(server, name, asked).then(
      (answer) => (entry.value = read(answer)),
      (error) => {
        entry.error = error.message;
        // Asked again by whoever wants it next, but not at once.
        setTimeout(() => answers.delete(key), 4000);
      },
    ).then(changed);
    return entry;
  }

  const look = (own = {}) => ({ layers, head, half, image: 0, ...own });
  const described = (of) => want("attention", of && { id: of, ...look() }, readDescribed);
  const mapsOf = (of, tokens) => want("word_maps", of && tokens.length ? { id: of, tokens, ...look() } : null, readMaps);

  /** Take in the value of the live run. */
  function receive(next) {
    value = { ...next, steps: [...next.steps] };
    const ended = !BUSY.includes(next.status) && next.run && next.request;
    if (ended && shownRequest !== next.request) {
      shownRequest = next.request;
      // A hosted run has no attention to open: what is known of it stays in sight.
      open(next.run.hosted ? null : next.run.id);
      refresh();
    }
    changed();
  }

  /** Ask for the list of runs. Where none is looked at yet, the newest is. */
  async function refresh() {
    try {
      const answer = await ask(server, "attention_runs", {});
      runs = answer.runs;
      problem = null;
      const first = runs[0] ?? start;
      if (!id && first && !BUSY.includes(value?.status) && !value?.run?.hosted) open(first.id);
    } catch (error) {
      problem = error.message;
    }
    changed();
  }

  function open(next) {
    id = next;
    if (other === id) other = null;
    changed();
  }

  /** What is drawn; see the fields. */
  function state() {
    const told = described(id);
    if (told.value) drawn = { id, data: told.value };
    // Another look at the same run: what was drawn last stays until it is here.
    const found = drawn.id === id ? drawn.data : null;
    if (found) settle(found);
    const last = found ? found.steps.length - 1 : 0;
    const position = found ? Math.min(at ?? last, last) : 0;
    const step = found?.steps[position] ?? null;
    const cross = found?.activation;
    const maps = found && cross ? mapsOf(id, selected) : {};
    const beside = other && found ? described(other) : {};
    return {
      value,
      busy: BUSY.includes(value?.status),
      runs,
      id,
      problem: problem ?? told.error ?? null,
      data: found, // what was captured, or null while it is read
      example: start !== null && [start, ...(start.others ?? [])].some((one) => one.id === id), // whether a recorded example is in sight
      at: position,
      step,
      selected,
      words: found ? wordsOf(found.tokens) : [],
      maps: maps.value ?? null, // {rows, columns, count, maps, low, high} of the chosen word by step
      mapsProblem: maps.error ?? null,
      layers,
      ownLayers,
      head,
      half,
      view,
      scale,
      share,
      place,
      other,
      beside: beside.value ?? null,
      besideProblem: beside.error ?? null,
    };
  }

  // What was chosen for another run may not be there in this one; the same word is, where the prompt has it.
  function settle(found) {
    if (settledFor !== id) {
      const same = wordsOf(found.tokens).find((group) => group.kind === "word" && group.text.toLowerCase() === chosenText);
      selected = same?.indices ?? firstWord(found.tokens);
      settledFor = id;
    }
    const named = new Set([...found.layers.flatMap((layer) => [layer.name, layer.block]), ...Object.keys(found.parts ?? {})]);
    const gone = (names) => names?.some((name) => !named.has(name));
    if (gone(layers)) layers = null;
    if (gone(ownLayers)) ownLayers = null;
    if (!found.per_head) head = null;
    if (!found.halves) half = "cond";
  }

  return {
    receive,
    refresh,
    open,
    state,
    want,
    look,
    choose(indices) {
      selected = [...indices].sort((a, b) => a - b);
      const group = wordsOf(drawn.data?.tokens ?? []).find((each) => isChosen(each, selected));
      chosenText = group?.text.toLowerCase() ?? null;
      changed();
    },
    go(position) {
      at = position;
      changed();
    },
    show(next) {
      view = next;
      remember("attention-view", view);
      changed();
    },
    set(changes) {
      if ("layers" in changes) {
        layers = changes.layers;
        // Other layers may have fewer heads.
        head = null;
      }
      if ("ownLayers" in changes) ownLayers = changes.ownLayers;
      if ("head" in changes) head = changes.head;
      if ("half" in changes) half = changes.half;
      if ("place" in changes) place = changes.place;
      if ("other" in changes) other = changes.other;
      if ("scale" in changes) remember("attention-scale", (scale = changes.scale));
      if ("share" in changes) remember("attention-share", String((share = changes.share)));
      changed();
    },
    mapsOf,
    described,
  };
}

function readDescribed(answer) {
  return { ...answer, activation: answer.activation === null ? null : floatsOf(answer.activation) };
}

/** Maps of an answer: `maps[k]` is the k-th, rows x columns values; `low` and `high` are those of all together. Of words
 * with the `activation` of each. */
export function readMaps({ rows, columns, values, activation = null }) {
  const all = floatsOf(values);
  const size = rows * columns;
  const maps = Array.from({ length: all.length / size }, (_, k) => all.subarray(k * size, (k + 1) * size));
  return { rows, columns, maps, activation, ...rangeOf(all) };
}

/** The least and the most of many numbers. */
export function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

/** Where the colours begin and end for the k-th of a word's maps: over the run, or over that step alone. */
export function limits(found, k, scale) {
  return scale === "step" ? rangeOf(found.maps[k]) : { low: found.low, high: found.high };
}

// The first word that is more than an article.
function firstWord(tokens) {
  const words = wordsOf(tokens).filter((group) => group.kind === "word");
  const first = words.find((group) => group.text.length > 2) ?? words[0];
  return first ? first.indices : tokens.slice(0, 1).map((token) => token.index);
}
