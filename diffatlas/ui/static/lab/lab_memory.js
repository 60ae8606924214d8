// Memorise or generalise: networks trained on 5 to 5,000 points, and the copies that they make. The charts are the
// server's figure (diffatlas/figures/memory.py).

import { el } from "../core/dom.js";
import { askedOf } from "./lab_asked.js";
import { createDrawing } from "./lab_drawing.js";
import { figure } from "./lab_figure.js";
import { createFields } from "./lab_form.js";
import { createJob } from "./lab_job.js";

const SIZES = [5, 20, 100, 500, 2000, 5000];

/** Create the view. */
export function createMemoryView({ store }) {
  const fields = createFields({ train_steps: { label: "Steps for each", kind: "number", min: 100, max: 20000, step: 100, value: 2000 } }, () => {});
  const job = createJob({ store, label: "Train on 5 to 5,000 points", onRun: () => measure(), stoppable: true });
  const picks = el("div", { class: "da-lab-picks", role: "group", "aria-label": "Training points" });
  const drawing = createDrawing({ store, job, call: "lab_memory_figure", empty: "One network is trained for each size, some seconds each." });
  const framed = figure({
    name: "memory",
    body: el("div", {}, picks, ...drawing.nodes),
    about: "{copy|Copies} of training points by the size of the training set, and what one of the networks draws: choose its size above.",
    asked: () => told,
    more: [...drawing.files, ["CSV of copies", () => framed.csv(copies(), "copies")], ["CSV of distances", () => framed.csv(distances(), "nearest")]],
  });
  const node = el("div", {}, el("div", { class: "da-lab-fields da-lab-row" }, fields.nodes.train_steps), ...job.nodes, framed.node);
  let rows = [];
  let told = {}; // the target, and what was asked
  let at = 0;

  async function measure(steps = null) {
    if (steps) fields.set("train_steps", steps);
    rows = [];
    at = 0;
    job.say("Training on 5 points…");
    paint();
    const asked = { train_steps: fields.values().train_steps, sizes: SIZES };
    told = { lab_target: store.get().lab.title, ...askedOf(asked) };
    const result = await job.run("lab_memory", asked, (state) => {
      if (state.partial && state.partial.rows.length !== rows.length) {
        rows = state.partial.rows;
        at = rows.length - 1;
        paint();
      }
      job.say(`${state.message || "Training…"} ${Math.round(100 * (state.progress ?? 0))} %`);
    });
    if (result) rows = result.rows;
    if (result) job.say(`${rows.length} networks, ${asked.train_steps.toLocaleString("en")} steps each.`);
    await paint();
    return rows;
  }

  async function paint() {
    picks.replaceChildren(...rows.map((row, k) => el("button", { type: "button", class: "da-lab-pick", "aria-pressed": String(k === at), onclick: () => ((at = k), paint()) }, row.n.toLocaleString("en"))));
    await drawing.show(rows.length ? { count: rows[at].n } : null, rows.length);
  }

  const copies = () => (rows.length ? [["training_points", "copies_learned", "copies_empirical", "copies_fresh", "median_distance_learned", "median_distance_fresh", "excess", "excess_by_heart"], ...rows.map((row) => [row.n, row.copies.learned, row.copies.empirical, row.copies.fresh, row.median.learned, row.median.fresh, row.excess, row.heart])] : []);

  function distances() {
    const row = rows[at];
    if (!row) return [];
    return [["distance", "learned", "empirical", "fresh"], ...row.histograms.middles.map((value, k) => [value, row.histograms.learned[k], row.histograms.empirical[k], row.histograms.fresh[k]])];
  }

  function update(state) {
    // Another target has other points; other weights of the same one do not matter here.
    if (job.lab() && JSON.stringify(job.lab().source) !== JSON.stringify(state.lab?.source)) {
      rows = [];
      job.forget();
    }
    job.enable(state.lab);
    paint();
  }

  return { node, update, measure, rows: () => rows };
}
