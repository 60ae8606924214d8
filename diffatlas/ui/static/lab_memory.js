// Memorise or generalise: networks trained on 5 to 5,000 points, and the copies that they make.

import { el } from "./dom.js";
import { significant } from "./format.js";
import { createCanvas, drawPoints, inks, toPixels } from "./lab_canvas.js";
import { createChart } from "./lab_chart.js";
import { figure } from "./lab_figure.js";
import { createFields } from "./lab_form.js";
import { createJob } from "./lab_job.js";
import { decodeFloats } from "./state.js";

const SIZES = [5, 20, 100, 500, 2000, 5000];

/** Create the view. */
export function createMemoryView({ store }) {
  const fields = createFields({ train_steps: { label: "Steps for each", kind: "number", min: 100, max: 20000, step: 100, value: 2000 } }, () => {});
  const job = createJob({ store, label: "Train on 5 to 5,000 points", onRun: () => measure(), stoppable: true });
  const chart = createChart({ label: "Copies by size of the training set" });
  const histogram = createChart({ label: "Distance to the nearest training point" });
  const cloud = createCanvas({ label: "Training points and samples" });
  const picks = el("div", { class: "da-lab-picks", role: "group", "aria-label": "Training points" });
  const chosen = el("p", { class: "da-caption" });
  const copies = figure({ title: "Copies", name: "copies", body: chart.node, about: "The share of samples that are {copy|copies} of a training point. Burgundy: the network. Grey dashed: fresh points of the target, which are near a training point by chance.", png: () => [chart.canvas], csv: () => (rows.length ? [["training_points", "copies_learned", "copies_empirical", "copies_fresh", "median_distance_learned", "median_distance_fresh", "excess", "excess_by_heart"], ...rows.map((row) => [row.n, row.copies.learned, row.copies.empirical, row.copies.fresh, row.median.learned, row.median.fresh, row.excess, row.heart])] : []) });
  const near = figure({ title: "Nearest training point", name: "nearest", body: el("div", {}, picks, histogram.node, chosen), about: "Distances of samples to the nearest training point, on a logarithmic axis. The sampler that knows the training points and nothing else (gold) ends on them; who has learned the target (grey) keeps away as far as fresh points do.", png: () => [histogram.canvas], csv: histogramRows });
  const seen = figure({ title: "Samples and training points", name: "memory-points", body: cloud.node, about: "Small: samples of the network. Ringed: the training points, at most 500 of them.", png: () => [cloud.canvas] });
  const node = el("div", {}, el("div", { class: "da-lab-fields da-lab-row" }, fields.nodes.train_steps), ...job.nodes, el("div", { class: "da-lab-three" }, copies.node, near.node, seen.node));
  let rows = [];
  let at = 0;

  async function measure(steps = null) {
    if (steps) fields.set("train_steps", steps);
    rows = [];
    at = 0;
    job.say("Training on 5 points…");
    paint();
    const asked = { train_steps: fields.values().train_steps, sizes: SIZES };
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
    paint();
    return rows;
  }

  function paint() {
    const colours = inks();
    const by = (name) => rows.map((row) => [row.n, row.copies[name]]);
    chart.update({ x: { label: "training points", log: true, low: 4, high: 6500, ticks: [5, 20, 100, 500, 5000] }, y: { label: "copies", low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1] }, lines: rows.length ? [{ colour: colours.burgundy, marks: true, points: by("learned") }, { colour: colours.gold, dashed: true, points: by("empirical") }, { colour: colours.muted, dashed: true, marks: true, points: by("fresh") }] : [], empty: "One network is trained for each size, some seconds each." });
    picks.replaceChildren(...rows.map((row, k) => el("button", { type: "button", class: "da-lab-pick", "aria-pressed": String(k === at), onclick: () => ((at = k), paint()) }, row.n.toLocaleString("en"))));
    const row = rows[at];
    const bins = row?.histograms.learned.length ?? 0;
    const line = (name, colour, dashed) => ({ colour, dashed, points: row.histograms[name].map((value, k) => [10 ** (-3 + (4 * (k + 0.5)) / bins), value]) });
    histogram.update({ x: { label: "distance", log: true, low: 0.001, high: 10, ticks: [0.001, 0.01, 0.1, 1, 10] }, y: { label: "share", low: 0 }, lines: row ? [line("empirical", colours.gold, true), line("fresh", colours.muted, true), line("learned", colours.burgundy, false)] : [], empty: "Nothing measured yet." });
    chosen.textContent = row ? `${row.n.toLocaleString("en")} points: ${significant(100 * row.copies.learned, 3)} % copies; error above the floor ${significant(100 * row.excess, 3)} %, that of knowing the points by heart ${significant(100 * row.heart, 3)} %.` : "";
    cloud.draw((context, width, height) => {
      if (!row) return;
      const to = toPixels(width, height, store.get().extent);
      drawPoints(context, decodeFloats(row.samples), to, () => colours.burgundy, 1.6, 0.6);
      context.strokeStyle = colours.ink;
      const points = decodeFloats(row.points);
      for (let k = 0; k < points.length; k += 2) {
        context.beginPath();
        context.arc(to[0](points[k]), to[1](points[k + 1]), 3.5, 0, 7);
        context.stroke();
      }
    });
  }

  function histogramRows() {
    const row = rows[at];
    if (!row) return [];
    const bins = row.histograms.learned.length;
    return [["distance", "learned", "empirical", "fresh"], ...row.histograms.learned.map((value, k) => [10 ** (-3 + (4 * (k + 0.5)) / bins), value, row.histograms.empirical[k], row.histograms.fresh[k]])];
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
