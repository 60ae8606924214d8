// The client's state: the live run, the layers, what is chosen, and the projection that belongs to them.

import { ask } from "../core/ask.js";
import { createLayerList } from "../runs/layer_list.js";
import { createProjector } from "../runs/projector.js";
import { remember, remembered } from "../core/remember.js";
import { play } from "../form/start.js";
import { BUSY, SPACES } from "../core/state.js";

const INK = "var(--da-ink)";
const VIEWS = ["film", ...SPACES, "curves"];
const PATIENCE = 1500; // ms for the list of layers to come with the end of a run

/** Create the store. `onChange()` is called after every change, never while one is being made.
 *
 * `start`: {id} of the recorded example that plays while there is no layer and nothing has run, or null.
 */
export function createStore({ server, onChange, start = null }) {
  let value = null; // the run of this page: in progress, or the last one
  const runs = new Map(); // id -> RunData of ended runs
  const asked = new Set();
  const unread = new Map(); // id -> why its data did not come
  let begun = null; // id of the run that has begun last
  let ended = null; // request whose end has been taken in
  let listed = null; // request with whose end the list of layers came
  let settled = true; // whether the server's list knows the end of the last run
  let selected = null;
  let activeId = null;
  let view = remembered("view", VIEWS, "film");
  let every = Number(remembered("every", null, "4"));
  let fit = "all";
  let queued = false;
  let example = null; // {data, end} while the recorded example is in sight
  const projector = createProjector({ server, onChange: changed });
  const list = createLayerList({ server, calls: { list: "layers", edit: "edit" }, onTaken: taken, onChange: changed });

  function changed() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      onChange();
    });
  }

  /** Take in the value of the live run. */
  function receive(next) {
    const first = value === null;
    const another = next.request !== value?.request;
    const follows = next.batch && next.batch.number > 1;
    value = next;
    if (next.run) dismiss();
    if (another && !first) {
      if (!follows) selected = null;
      activeId = null;
      if (follows) refresh();
    }
    if (next.run && next.run.id !== begun) begin(follows);
    if (!BUSY.includes(next.status) && next.request) end();
    changed();
  }

  function begin(follows) {
    begun = value.run.id;
    settled = false;
    if (!follows) list.keep((info) => info.locked);
    refresh();
  }

  function end() {
    const { request, run, layers } = value;
    if (run && ended !== request) runs.set(run.id, { ...value });
    if (layers && listed !== request) {
      listed = request;
      settled = true;
      list.take({ layers });
    } else if (run && !layers && ended !== request) {
      setTimeout(() => value.request === request && !settled && refresh(true), PATIENCE);
    }
    ended = request;
  }

  function taken(layers) {
    const ids = new Set(layers.map((info) => info.id));
    for (const id of [...runs.keys()]) if (!ids.has(id) && id !== value?.run?.id) runs.delete(id);
    for (const info of layers) if (info.visible) load(info.id);
    if (layers.length) dismiss();
    else if (!value.request) beginExample();
  }

  async function beginExample() {
    if (!start || example) return;
    example = { data: null, end: () => {} };
    const mine = example;
    const data = await ask(server, "run_data", { id: start.id }).catch(() => null);
    if (!data || example !== mine) return;
    mine.end = play(data, (frame) => {
      mine.data = frame;
      changed();
    });
  }

  // It does not come back in this visit.
  function dismiss() {
    start = null;
    if (!example) return;
    const { end } = example;
    example = null;
    end();
  }

  /** Fetch a layer's data, where it is not here yet. */
  async function load(id) {
    const inProgress = id === value?.run?.id && (BUSY.includes(value.status) || runs.has(id));
    if (runs.has(id) || asked.has(id) || inProgress) return;
    asked.add(id);
    unread.delete(id);
    try {
      const data = await ask(server, "run_data", { id });
      if (list.all().some((info) => info.id === id)) runs.set(id, data);
    } catch (error) {
      unread.set(id, error.message);
    }
    asked.delete(id);
    changed();
  }

  async function refresh(settles = false) {
    if ((await list.refresh()) && settles) settled = true;
    changed();
  }

  /** Change a layer, {action, id, name, visible}. */
  function edit(change) {
    if (change.action === "reset") dismiss();
    if (change.visible) load(change.id);
    return list.edit(change);
  }

  function all() {
    const busy = BUSY.includes(value.status);
    const id = value.run?.id;
    const current = id && (busy || !settled);
    const infos = list.all();
    const labelled = (info) => ({ ...info, own: info.name, name: info.label ?? info.name });
    const rows = infos.filter((info) => !current || info.id !== id).map((info) => ({ ...labelled(info), live: false, data: runs.get(info.id) ?? null, unread: unread.get(info.id) ?? null }));
    if (current) {
      const { run, prompt, status } = value;
      const told = { seed: run.seed, prompt: run.prompt, total_steps: run.total_steps, latent_shape: run.latent_shape };
      const name = infos.find((info) => info.id === id)?.label ?? (prompt || run.prompt);
      rows.push({ ...told, id, name, own: prompt || run.prompt, locked: false, visible: true, colour: null, status, live: true, data: value, unread: null });
    }
    if (!rows.length && example?.data) rows.push(exampleRow(example.data));
    return rows;
  }

  /** The state of everything; see the fields below. */
  function state() {
    const rows = all();
    const busy = BUSY.includes(value.status);
    const layers = rows
      .filter((row) => row.visible && row.data)
      .map(({ id, name, own, locked, colour, data, example }) => ({ id, name, own, locked, colour: colour ?? INK, data, example }));
    const active = rows.find((row) => row.id === activeId) ?? rows.findLast((row) => !row.locked && row.visible) ?? rows.findLast((row) => row.visible) ?? rows.at(-1) ?? null;
    const chosen = selected && rows.find((row) => row.id === selected.id)?.data;
    if (!chosen || selected.index >= chosen.steps.length) selected = null;
    if (active && !active.data) load(active.id);
    const stored = layers.filter((layer) => (runs.has(layer.id) || layer.example === "whole") && layer.data.steps.length);
    const running = rows.some((row) => row.live);
    projector.want(SPACES.includes(view) && !running ? { view, ids: stored.map((layer) => layer.id), fit } : null);
    return {
      view, // film, pca, umap or curves
      layers, // the visible ones whose data is here, the live or temporary one last; `name` tells them apart
      live: busy ? value : null, // the run in progress
      metrics: value.metrics,
      selected, // {id, index} or null
      projection: running ? null : projector.result(),
      projectionError: running ? null : projector.error(),
      every, // thumbnails every N in 3D, 0 = none
      value, // the run of this page, whatever its status
      rows, // all layers, hidden ones too: LayerInfo with live, data (or null) and unread
      active, // the row whose image and numbers are shown, or null
      fit: stored.some((layer) => layer.id === fit) ? fit : "all",
      problem: list.problem(), // a sentence about the layers, or null
      example: Boolean(example?.data), // whether the recorded example is in sight
    };
  }

  return {
    receive,
    refresh,
    edit,
    state,
    select(id, index) {
      selected = id === null || index === null ? null : { id, index };
      if (selected) activeId = id;
      changed();
    },
    activate(id) {
      activeId = id;
      load(id);
      changed();
    },
    show(next) {
      example?.end();
      view = next;
      remember("view", view);
      changed();
    },
    thumbnails(next) {
      every = next;
      remember("every", String(every));
      changed();
    },
    fitOn(next) {
      fit = next;
      changed();
    },
  };
}

// The recorded example as a row: "whole" once it has played to its end.
function exampleRow(data) {
  const { run, status } = data;
  const told = { seed: run.seed, prompt: run.prompt, total_steps: run.total_steps, latent_shape: run.latent_shape };
  const playing = status === "running";
  return { ...told, id: run.id, name: run.prompt, own: run.prompt, locked: false, visible: true, colour: null, status, live: playing, data, unread: null, example: playing ? "playing" : "whole" };
}
