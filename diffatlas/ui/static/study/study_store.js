// The state of a page that makes studies: the study in sight (the one that runs here, or a stored one that was
// opened), the data of its runs, what was measured of it, and what is chosen.

import { ask } from "../core/ask.js";
import { isDark } from "../core/dom.js";
import { createProjector } from "../runs/projector.js";
import { remember, remembered } from "../core/remember.js";
import { SPACES } from "../core/state.js";
import { columnColour, counted, isBusy, nameOf, told } from "../runs/study_words.js";

const AT_ONCE = 3; // runs that are fetched together
const FOLLOW = 3000; // ms between two questions after a study that runs elsewhere
const MOST_PATHS = 48; // paths in one view: more would not be told apart
const ALL = "*";
const PATHS = ["film", ...SPACES, "curves"];

/** Create the store. `onChange()` is called after every change, never while one is being made. */
export function createStudyStore({ server, operation, views, onChange, start = null }) {
  let live = null; // the value of this page's own stream
  let opened = null; // the value of a stored study that is looked at instead
  let opening = null; // id of the study that is being fetched
  let problem = null; // a sentence about the study in sight, or null
  let latest = null; // the last value in sight that had a study
  const runs = new Map(); // id -> RunData
  const asked = new Map(); // id -> promise of RunData
  const unread = new Map(); // id -> why its data did not come
  let queue = []; // ids that wait for their turn
  let under = 0; // how many are being fetched
  let measured = null; // {key, study, data, problem}: the last answer
  let measuring = null; // key that is being asked for
  let selected = null; // {id, index}: a step of a run
  let cell = null; // key of the cell that was chosen
  let lane = null; // a lane's key, ALL, or null where nobody has chosen
  let row = null; // likewise, a row's number
  let view = remembered(`${operation}-view`, views, views[0]);
  let every = Number(remembered("every", null, "4"));
  let fit = "all";
  let queued = false;
  let example = false; // whether the recorded example is in sight
  const projector = createProjector({ server, onChange: changed });

  function changed() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      onChange();
    });
  }

  /** Take in the value of this page's own stream. */
  function receive(next) {
    const another = live !== null && next.request !== live.request;
    const before = shown()?.study?.id;
    live = copied(next);
    if (another) opened = opening = problem = null;
    const had = example;
    if (another) example = false;
    // What could not begin takes nothing away, not even the example that was about to come.
    if (refused() && !opened) {
      problem = live.error?.message ?? null;
      if (latest) {
        opened = latest;
        example = had;
      } else begin();
    }
    if (shown()?.study?.id !== before) forget();
    changed();
  }

  // Another study has come into sight.
  function forget() {
    selected = cell = lane = row = null;
    queue = [];
    fit = "all";
    const ids = new Set(Object.values(shown()?.cells ?? {}).map(({ run }) => run));
    for (const id of [...runs.keys()]) if (!ids.has(id)) runs.delete(id);
    unread.clear();
  }

  /** Fetch a stored study and show it. Returns whether it came. `quiet`: nothing is said of one that is gone, and what
   * is said of something else stays. */
  async function open(id, quiet = false) {
    if (live?.study?.id === id) {
      back();
      return true;
    }
    opening = id;
    if (!quiet) problem = null;
    example = false;
    changed();
    try {
      const value = await ask(server, "study", { id });
      if (opening !== id) return false;
      opened = copied(value);
      forget();
      if (isBusy(value.status)) follow(id);
    } catch (error) {
      if (opening !== id) return false;
      if (!quiet) problem = error.message;
      opening = null;
      changed();
      return false;
    }
    opening = null;
    changed();
    return true;
  }

  // A study that runs on another page: asked after until it has ended, or is no longer looked at.
  function follow(id) {
    setTimeout(async () => {
      if (opened?.study?.id !== id) return;
      const value = await ask(server, "study", { id }).catch(() => null);
      if (opened?.study?.id !== id) return;
      if (value) opened = copied(value);
      changed();
      if (isBusy(opened.status)) follow(id);
    }, FOLLOW);
  }

  // Nothing came of what was asked for last.
  const refused = () => live?.status === "failed" && !live.study;

  /** Open the recorded example, where nothing is in sight yet. */
  async function begin() {
    if (!start || opening || shown()?.study || (live?.request && !refused())) return;
    // It may be asked for twice; the answer that comes first brings it, and the other one takes nothing away.
    if (!(await open(start.id, true))) return;
    example = true;
    start = null;
    changed();
  }

  /** Look at this page's own stream again. */
  function back() {
    opened = opening = problem = null;
    forget();
    changed();
  }

  const shown = () => opened ?? live;

  /** A promise of a run's data; it rejects with an Error to be shown. */
  function load(id) {
    if (runs.has(id)) return Promise.resolve(runs.get(id));
    if (!asked.has(id)) {
      unread.delete(id);
      under += 1;
      const fetched = ask(server, "run_data", { id })
        .then((data) => {
          runs.set(id, data);
          return data;
        })
        .catch((error) => {
          unread.set(id, error.message);
          throw error;
        })
        .finally(() => {
          under -= 1;
          asked.delete(id);
          next();
          changed();
        });
      asked.set(id, fetched);
    }
    return asked.get(id);
  }

  // A few at a time: the server answers others too.
  function next() {
    while (under < AT_ONCE && queue.length) load(queue.shift()).catch(() => {});
  }

  function want(ids) {
    queue = ids.filter((id) => !runs.has(id) && !asked.has(id) && !unread.has(id));
    next();
  }

  // What can be measured changes with every cell that is complete; the measures of before stay until new ones come.
  async function measure(value) {
    const key = measurable(value);
    if (key === null || measuring === key || measured?.key === key) return;
    measuring = key;
    const { id } = value.study;
    let data = null;
    let why = null;
    try {
      data = await ask(server, "measures", { id });
    } catch (error) {
      why = error.message;
    }
    if (measuring !== key) return;
    measuring = null;
    measured = { key, study: id, data: data ?? (measured?.study === id ? measured.data : null), problem: why };
    changed();
  }

  // Paths of one lane, until all are asked for: their states may be scaled differently.
  function pathLane({ study }) {
    if (lane === ALL || !study) return null;
    return lane ?? study.lanes[0].key;
  }

  // The runs of the cells that the views of paths show, in the order of the study.
  function pathsOf(value) {
    const lane = pathLane(value);
    const seen = new Map();
    for (const each of value.study?.cells ?? []) {
      const { status, run } = told(value.cells, each.key);
      if (status !== "complete" || !run) continue;
      if ((lane !== null && each.lane !== lane) || (row !== null && each.row !== row)) continue;
      // Two cells can be one run.
      if (seen.has(run)) seen.get(run).names.push(nameOf(value.study, each));
      else seen.set(run, { id: run, cell: each, names: [nameOf(value.study, each)] });
    }
    return [...seen.values()];
  }

  function layerOf(study, { id, cell: of, names }) {
    const at = study.columns.findIndex(({ column }) => column === of.column);
    const colour = columnColour(Math.max(0, at), study.columns.length, isDark());
    // The first lane's lines are whole, those of the others dashed.
    return { id, name: names.join(", "), locked: of.lane === study.lanes[0].key, colour, data: runs.get(id) };
  }

  /** The state of everything; see the fields below. */
  function state() {
    const value = shown();
    const { study } = value;
    if (study) latest = value;
    const busy = isBusy(value.status);
    const all = pathsOf(value);
    const paths = all.slice(0, MOST_PATHS);
    const wanted = PATHS.includes(view);
    want(wanted ? paths.map(({ id }) => id) : []);
    const loading = wanted ? paths.filter(({ id }) => !runs.has(id) && !unread.has(id)).length : 0;
    const layers = study ? paths.filter(({ id }) => runs.has(id)).map((path) => layerOf(study, path)) : [];
    if (selected && !layers.some(({ id, data }) => id === selected.id && selected.index < data.steps.length)) selected = null;
    // UMAP is dear, and every cell that comes would begin it anew.
    const postponed = view === "umap" && busy;
    projector.want(SPACES.includes(view) && !postponed && !loading ? { view, ids: layers.map(({ id }) => id), fit } : null);
    if (study && !busy) measure(value);
    return {
      operation,
      view,
      value,
      busy,
      study: study ?? null,
      cells: value.cells ?? {},
      opened: opened !== null,
      example: example && opened !== null, // whether the recorded example is in sight
      opening,
      problem,
      away: opened !== null && live && isBusy(live.status), // a study runs out of sight
      measures: measured?.study === study?.id ? measured?.data ?? null : null,
      measuring: measuring !== null,
      unmeasured: measured?.study === study?.id ? measured?.problem ?? null : null,
      lane: lane === ALL ? null : lane, // a lane's key, or null for all of them
      pathLane: pathLane(value), // the same for the views of paths
      row, // a row's number, or null for all of them
      cell, // key of the cell that was chosen, or null
      layers, // as the views of paths take them
      left: all.length - paths.length, // paths that are not shown
      loading, // runs that are still to come
      unread: paths.map(({ id }) => unread.get(id)).find(Boolean) ?? null,
      live: null,
      metrics: layers[0]?.data.metrics ?? [],
      selected,
      projection: postponed ? null : projector.result(),
      projectionError: postponed ? "UMAP is computed once all cells have ended." : projector.error(),
      every,
      fit: layers.some(({ id }) => id === fit) ? fit : "all",
    };
  }

  /** Layers of all runs that are here: what the inspector can be opened on. */
  function inspectable() {
    const value = shown();
    const seen = new Set();
    const paths = (value.study?.cells ?? []).map((each) => ({ cell: each, id: told(value.cells, each.key).run })).filter(({ id }) => id && runs.has(id) && !seen.has(id) && seen.add(id));
    return paths.map(({ id, cell: each }) => layerOf(value.study, { id, cell: each, names: [nameOf(value.study, each)] }));
  }

  return {
    receive,
    open,
    begin,
    load,
    state,
    inspectable,
    back,
    /** A study has another title now. */
    retitle(id, title) {
      for (const value of [opened, live]) if (value?.study?.id === id) value.study = { ...value.study, title };
      changed();
    },
    /** A study is gone. */
    drop(id) {
      if (opened?.study?.id === id) opened = null;
      if (latest?.study.id === id) latest = null;
      if (live?.study?.id === id) live = { ...live, status: "idle", study: null, cells: {}, lanes: {} };
      forget();
      changed();
    },
    select(id, index) {
      selected = id === null || index === null ? null : { id, index };
      changed();
    },
    choose(key) {
      cell = key;
      changed();
    },
    inLane(key) {
      lane = key ?? ALL;
      changed();
    },
    inRow(number) {
      row = number;
      changed();
    },
    show(nextView) {
      view = nextView;
      // What could not be measured is asked for once more.
      if (measured?.problem) measured = { ...measured, key: null };
      remember(`${operation}-view`, view);
      changed();
    },
    thumbnails(nextEvery) {
      every = nextEvery;
      remember("every", String(every));
      changed();
    },
    fitOn(nextFit) {
      fit = nextFit;
      changed();
    },
    repaint: changed,
  };
}

// What decides the measures of a study, or null where there is nothing to measure.
function measurable({ study, cells }) {
  const { complete } = counted(cells, study.cells);
  if (!complete) return null;
  const ran = study.cells.map(({ key }) => `${told(cells, key).status === "complete" ? (told(cells, key).run ?? "image") : ""}`);
  return `${study.id} ${ran.join()}`;
}

// Copied, because Gradio may change a value in place.
function copied(value) {
  const cells = Object.fromEntries(Object.entries(value.cells ?? {}).map(([key, cell]) => [key, { ...cell }]));
  return { ...value, cells, lanes: { ...value.lanes } };
}
