// The state of the Bench page: the bench in sight (the one that runs here, or a stored one that was opened), every card
// of it, and what is chosen. The stream tells what has changed; the whole is asked for.

import { ask } from "../core/ask.js";
import { remember, remembered } from "../core/remember.js";
import { BUSY } from "../core/state.js";

const FRAMES = 8; // frames for which a cell that changed is told, as in bench_view.py
const FOLLOW = 3000; // ms between two questions after a bench that runs elsewhere
const BLANK = { status: "waiting", run: null, cached: false, seconds: null, error: null, said: {}, mark: null, wait: null };

/** Create the store. `onChange()` is called after every change, never while one is being made. */
export function createBenchStore({ server, views, onChange }) {
  let live = null; // the value of this page's own stream
  let whole = null; // {status, bench, cells, lanes, scorers} of the bench in sight
  let frame = 0; // the last frame of the stream that was taken in
  let opened = false; // whether a stored bench is looked at rather than the stream's
  let opening = null; // id of the bench that is being fetched
  let problem = null; // a sentence about the bench in sight, or null
  let view = remembered("bench-view", views, views[0]);
  let cell = null; // key of the card that was chosen
  let version = 0; // counts changes of cards that the server told of
  let marked = 0; // counts marks
  const own = new Map(); // key -> the mark that was put here, of the bench in sight
  let queued = false;

  function changed() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      onChange();
    });
  }

  const isLive = () => !opened && live?.bench && whole?.bench.id === live.bench.id;

  /** Take in the value of this page's own stream. */
  function receive(next) {
    const another = live !== null && next.request !== live.request;
    const before = live;
    live = next;
    if (another) {
      problem = null;
      frame = 0;
      opened = false;
      own.clear();
    }
    const id = next.bench?.id ?? null;
    if (!id || opened) {
      changed();
      return;
    }
    const missed = next.frame > frame + FRAMES;
    const ended = before && BUSY.includes(before.status) && !BUSY.includes(next.status);
    if (whole?.bench.id === id && !another) {
      merge(next);
      if (missed || ended) fetch(id);
    } else fetch(id);
    frame = next.frame;
    changed();
  }

  // Marks are this page's own to say.
  function merge(value) {
    for (const [key, card] of Object.entries(value.changed)) whole.cells[key] = { ...card, mark: whole.cells[key]?.mark ?? null };
    whole.lanes = value.lanes;
    whole.scorers = value.scorers;
    version += 1;
  }

  /** Fetch a bench whole. Returns whether it came. */
  async function fetch(id, quiet = false) {
    if (opening === id) return false;
    opening = id;
    changed();
    try {
      const value = await ask(server, "bench", { id });
      if (opening !== id) return false;
      if (whole?.bench.id !== id) {
        cell = null;
        own.clear();
      }
      whole = { status: value.status, bench: value.bench, cells: value.cells, lanes: value.lanes, scorers: value.scorers };
      // A mark that is on its way still.
      for (const [key, mark] of own) if (whole.cells[key]) whole.cells[key].mark = mark;
      version += 1;
      if (!opened && live?.bench?.id === id) merge(live);
      return true;
    } catch (error) {
      if (opening === id && !quiet) problem = error.message;
      return false;
    } finally {
      if (opening === id) opening = null;
      changed();
    }
  }

  /** Open a stored bench. `quiet`: nothing is said of one that is gone. Returns whether it came. */
  async function open(id, quiet = false) {
    problem = null;
    opened = live?.bench?.id !== id || !BUSY.includes(live.status);
    const came = await fetch(id, quiet);
    if (came && opened && BUSY.includes(whole.status)) follow(id);
    return came;
  }

  // A bench that runs elsewhere: asked after until it has ended, or is no longer looked at.
  function follow(id) {
    setTimeout(async () => {
      if (!opened || whole?.bench.id !== id) return;
      await fetch(id, true);
      if (opened && whole?.bench.id === id && BUSY.includes(whole.status)) follow(id);
    }, FOLLOW);
  }

  function state() {
    const running = isLive();
    const status = running ? live.status : (whole?.status ?? live?.status ?? "idle");
    // While nothing of the bench has come, what is said is the stream's.
    const told = !opened && live?.request && live.status !== "idle" ? live : null;
    return {
      view,
      live: told, // the stream's value, where it is about what is in sight
      status: told && !running ? told.status : status,
      busy: BUSY.includes(told ? told.status : status),
      bench: whole?.bench ?? null,
      cells: whole?.cells ?? {},
      lanes: whole?.lanes ?? {},
      scorers: whole?.scorers ?? {},
      version,
      marked,
      opened,
      opening,
      problem,
      away: opened && live?.bench && BUSY.includes(live.status), // a bench runs out of sight
      cell,
    };
  }

  return {
    receive,
    open,
    state,
    card: (key) => whole?.cells[key] ?? BLANK,
    /** Put a mark, or none, on a card of the bench `id`. */
    put(id, key, mark) {
      if (whole?.bench.id !== id || !whole.cells[key]) return;
      whole.cells[key] = { ...whole.cells[key], mark };
      own.set(key, mark);
      marked += 1;
      changed();
    },
    choose(key) {
      if (key === cell) return;
      cell = key;
      changed();
    },
    show(next) {
      view = next;
      remember("bench-view", view);
      changed();
    },
    /** Look at this page's own stream again. */
    back() {
      problem = null;
      opened = false;
      frame = 0;
      if (live?.bench) fetch(live.bench.id);
      changed();
    },
    retitle(id, title) {
      if (whole?.bench.id === id) whole.bench = { ...whole.bench, title };
      changed();
    },
    /** A bench is gone. */
    drop(id) {
      if (whole?.bench.id === id) whole = null;
      if (live?.bench?.id === id) live = { ...live, status: "idle", bench: null };
      opened = false;
      changed();
    },
    /** Ask for the bench in sight anew. */
    refetch() {
      if (whole) fetch(whole.bench.id);
    },
  };
}
