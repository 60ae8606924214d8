// The layers of a page of studies: which studies are kept, and the curves of the visible ones, to be drawn together.

import { ask } from "../core/ask.js";
import { createLayerList } from "../runs/layer_list.js";

const INK = "var(--da-ink)";

/** Create the store. `onChange()` is called after every change. */
export function createStudyLayers({ server, operation, onChange }) {
  const asked = { operation };
  const curves = new Map(); // id -> {key, data, problem}: what was measured of a layer's study
  let asking = false;
  let leftOut = null;
  let looked = null; // the study in view and its status, as the server was told last
  const list = createLayerList({ server, calls: { list: "study_layers", edit: "edit_study_layer" }, asked, onTaken: taken, onChange });

  function taken(infos, answer) {
    leftOut = answer.left_out;
    const ids = new Set(infos.map(({ id }) => id));
    for (const id of [...curves.keys()]) if (!ids.has(id)) curves.delete(id);
  }

  /** Tell which study is in view, {id} or null, and how it stands: it is a layer from then on. */
  function look(study, status) {
    const next = study && `${study.id} ${status}`;
    if (next === looked) return;
    looked = next;
    if (study) list.edit({ action: "look", id: study.id });
  }

  // One after another: measuring a study that nobody has looked at lately takes its time.
  async function want(rows) {
    if (asking) return;
    const next = rows.find((row) => curves.get(row.id)?.key !== keyOf(row));
    if (!next) return;
    asking = true;
    const found = { key: keyOf(next), data: null, problem: null };
    try {
      found.data = await ask(server, "study_curves", { ...asked, id: next.id });
    } catch (error) {
      found.problem = error.message;
    }
    asking = false;
    curves.set(next.id, found);
    onChange();
  }

  /**
   * {rows, active, problem, leftOut} for the list, and {own, others, missing} for the views that draw studies together,
   * where `drawn`. `study`: the one in view, or null; `busy`: whether it is at work.
   */
  function state(study, busy, drawn) {
    const id = study?.id ?? null;
    const rows = list.all().map((info) => {
      const inView = info.id === id;
      return { ...info, own: info.name, name: info.label ?? info.name, live: inView && busy, always: inView, unread: curves.get(info.id)?.problem ?? null };
    });
    const active = rows.find((row) => row.always) ?? null;
    const wanted = drawn && id ? rows.filter((row) => row.visible && !row.always && row.done) : [];
    want(wanted);
    const others = wanted.filter((row) => curves.get(row.id)?.data).map((row) => ({ ...curves.get(row.id).data, name: row.name, colour: row.colour ?? INK }));
    return {
      rows,
      active,
      problem: list.problem(),
      leftOut,
      own: { name: active?.name ?? study?.title, colour: active ? (active.colour ?? INK) : "var(--da-burgundy)" },
      others, // {id, name, colour} and what `study_curves` gives
      missing: wanted.filter((row) => !curves.get(row.id)).length, // still being measured
    };
  }

  return { look, state, refresh: list.refresh, edit: list.edit, find: (id) => list.all().find((info) => info.id === id) };
}

/** What a figure of the study in view is asked for that draws `others` beside it: {own, beside}, or nothing. */
export function together({ own, others }) {
  const drawn = ({ name, colour }) => ({ name, colour: colour.startsWith("#") ? colour : null });
  return others.length ? { own: drawn(own), beside: others.map((other) => ({ id: other.id, ...drawn(other) })) } : {};
}

// What was measured holds until more cells are complete.
const keyOf = ({ status, done }) => `${status} ${done}`;
