// How good samples are, against the steps or evaluations they take, beside what no sampler can be told from. The chart
// is the server's figure (diffatlas/figures/quality.py) of one measure.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { askedOf, networkOf } from "./lab_asked.js";
import { createDrawing } from "./lab_drawing.js";
import { figure } from "./lab_figure.js";
import { createFields } from "./lab_form.js";
import { createJob } from "./lab_job.js";
import { SAMPLERS, SHORT } from "./lab_names.js";

const MEASURES = [
  ["mmd2", "MMD², unbiased (0.5, 1, 2 × median)"],
  ["mmd2_fine", "MMD², fine (0.05, 0.1, 0.2 × median)"],
  ["mmd2_biased", "MMD², biased (as small demos show it)"],
  ["w2", "sliced Wasserstein"],
  ["excess_nll", "surprise under the exact density (nats)"],
  ["tv", "mode shares, total variation"],
  ["covered", "modes covered"],
];
const CHOICES = SAMPLERS.filter(([name]) => name !== "ddpm");
const STEPS = [4, 8, 16, 32, 64, 128];

/** Create the view. `sampling()` returns what the sampler is asked: the field, class and guidance are measured as they are there. */
export function createQualityView({ store, sampling }) {
  const boxes = createFields(Object.fromEntries(CHOICES.map(([name, label]) => [name, { label: SHORT[name], kind: "check", value: ["ddim", "heun"].includes(name), title: label }])), () => {});
  const fields = createFields(
    {
      measure: { label: "Measure", kind: "select", options: MEASURES, value: "mmd2" },
      axis: { label: "Against", kind: "select", options: [["steps", "steps"], ["calls", "evaluations"]], value: "steps" },
      scale: { label: "Scale", kind: "select", options: [["log", "logarithmic"], ["linear", "linear"]], value: "log" },
      n: { label: "Points", kind: "select", options: [["200", "200 (quick, noisy)"], ["2000", "2,000"]], value: "2000" },
      repeats: { label: "Repeats", kind: "number", min: 1, max: 10, step: 1, value: 3 },
    },
    (_, name) => ["measure", "axis", "scale"].includes(name) && paint(),
  );
  const job = createJob({ store, label: "Measure", onRun: measure, stoppable: true });
  const drawing = createDrawing({ store, job, call: "lab_quality_figure", empty: "Press Measure: each sampler runs with 4, 8, 16, 32, 64 and 128 steps." });
  const table = el("table", { class: "da-lab-table" });
  const framed = figure({
    name: "quality",
    body: el("div", {}, el("div", { class: "da-lab-fields da-lab-row" }, ...Object.values(boxes.nodes)), el("div", { class: "da-lab-fields da-lab-row" }, ...Object.values(fields.nodes)), ...job.nodes, ...drawing.nodes, table),
    about: "Below the {noise_floor|noise floor} samplers cannot be told from each other, nor from the target.",
    more: drawing.files,
    asked: () => told,
    csv: () => (data ? [["sampler", "steps", "evaluations", "repeat", ...MEASURES.map(([name]) => name)], ...[...data.floor, ...data.rows].map((row) => [row.sampler, row.steps, row.calls, row.repeat, ...MEASURES.map(([name]) => row[name])])] : []),
  });
  let data = null;
  let told = {}; // the network, and what was asked

  async function measure() {
    const v = fields.values();
    const samplers = Object.entries(boxes.values()).filter(([, on]) => on).map(([name]) => name);
    const { field, classes, weight } = sampling();
    data = null;
    job.say("Measuring the target against itself…");
    paint();
    const asked = { ...sampling(), sampler: "heun", steps: 18, samplers, n: Number(v.n), repeats: v.repeats };
    const { samplers: several, ...rest } = asked;
    told = { ...networkOf(store.get()), ...askedOf({ ...rest, sampler: several, steps: STEPS }, store.get().lab) };
    const result = await job.run("lab_quality", asked, ({ partial, progress }) => {
      if (!partial) return;
      data = partial;
      job.say(`Measuring… ${Math.round(100 * (progress ?? 0))} %`);
      paint();
    });
    if (result) data = result;
    if (result) job.say(`${data.rows.length} samplings of ${Number(v.n).toLocaleString("en")} points, ${field} field${whose(classes)}${weight && classes !== "none" ? `, guidance w ${weight}` : ""}.`);
    await paint();
    return data;
  }

  const whose = (classes) => (classes === "all" ? "" : classes === "none" ? " without class" : `, class ${store.get().lab.classes[classes]}`);

  /** Mean and standard deviation of a measure for a sampler, by steps: [[steps, calls, mean, sd]]. */
  const summary = (name, sampler) => data?.summary[name]?.[sampler] ?? [];

  async function paint() {
    const { measure: name, axis, scale } = fields.values();
    const there = Boolean(data?.rows.length);
    table.hidden = !there;
    if (there) tabulate();
    await drawing.show(there ? { measure: name, axis, scale } : null, data?.rows.length);
  }

  function tabulate() {
    const { measure: name } = fields.values();
    const samplers = Object.keys(data.summary[name]);
    table.replaceChildren(
      el("caption", { class: "da-offscreen" }, MEASURES.find(([key]) => key === name)[1]),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "steps"), ...samplers.map((sampler) => el("th", { scope: "col" }, SHORT[sampler])))),
      el("tbody", {}, ...STEPS.map((steps) => el("tr", {}, el("th", { scope: "row" }, String(steps)), ...samplers.map((sampler) => {
        const found = summary(name, sampler).find(([at]) => at === steps);
        return el("td", {}, found ? `${significant(found[2], 3)} ± ${significant(found[3], 2)}` : "–");
      })))),
    );
  }

  function update(state) {
    if (job.lab() && job.lab() !== state.lab) {
      data = null;
      job.forget();
    }
    job.enable(state.lab && (state.step || sampling().field !== "learned"));
    paint();
  }

  return {
    node: framed.node, update, measure, summary, data: () => data,
    set: (values) => {
      for (const [name, value] of Object.entries(values)) (name in fields.nodes ? fields : boxes).set(name, value);
      paint();
    },
  };
}
