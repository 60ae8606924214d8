// How good samples are, against the steps or evaluations they take, beside what no sampler can be told from.

import { el } from "./dom.js";
import { significant } from "./format.js";
import { createChart } from "./lab_chart.js";
import { inks } from "./lab_canvas.js";
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
export function createQualityView({ store, palette, sampling }) {
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
  const chart = createChart({ label: "Quality against steps", height: 270 });
  const legend = el("p", { class: "da-lab-legend" });
  const table = el("table", { class: "da-lab-table" });
  const framed = figure({
    name: "quality",
    body: el("div", {}, el("div", { class: "da-lab-fields da-lab-row" }, ...Object.values(boxes.nodes)), el("div", { class: "da-lab-fields da-lab-row" }, ...Object.values(fields.nodes)), ...job.nodes, chart.node, legend, table),
    about: "Mean over the repeats, each with fresh noise, classes and target points; bars are one standard deviation. The gold band is the {noise_floor|noise floor}: the target measured against itself with as many points, mean and two standard deviations; on the logarithmic scale what is smaller lies at the foot. Which sampler wins at few steps depends on the grid of noise levels too: Heun and DPM++ take Karras’s between σ 0.02 and 80, DDIM the model’s schedule.",
    png: () => [chart.canvas],
    csv: () => (data ? [["sampler", "steps", "evaluations", "repeat", ...MEASURES.map(([name]) => name)], ...[...data.floor, ...data.rows].map((row) => [row.sampler, row.steps, row.calls, row.repeat, ...MEASURES.map(([name]) => row[name])])] : []),
  });
  let data = null;

  async function measure() {
    const v = fields.values();
    const samplers = Object.entries(boxes.values()).filter(([, on]) => on).map(([name]) => name);
    const { field, classes, weight } = sampling();
    data = null;
    job.say("Measuring the target against itself…");
    paint();
    const asked = { ...sampling(), sampler: "heun", steps: 18, samplers, n: Number(v.n), repeats: v.repeats };
    const result = await job.run("lab_quality", asked, ({ partial, progress }) => {
      if (!partial) return;
      data = partial;
      job.say(`Measuring… ${Math.round(100 * (progress ?? 0))} %`);
      paint();
    });
    if (result) data = result;
    if (result) job.say(`${data.rows.length} samplings of ${Number(v.n).toLocaleString("en")} points, ${field} field${whose(classes)}${weight && classes !== "none" ? `, guidance w ${weight}` : ""}.`);
    paint();
    return data;
  }

  const whose = (classes) => (classes === "all" ? "" : classes === "none" ? " without class" : `, class ${store.get().lab.classes[classes]}`);

  /** Mean and standard deviation of a measure for a sampler, by steps: [[steps, calls, mean, sd]]. */
  function summary(name, sampler) {
    const rows = data?.rows.filter((row) => row.sampler === sampler) ?? [];
    return STEPS.flatMap((steps) => {
      const values = rows.filter((row) => row.steps === steps).map((row) => row[name]).filter((value) => value !== null);
      if (!values.length) return [];
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const sd = values.length > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)) : 0;
      return [[steps, rows.find((row) => row.steps === steps).calls, mean, sd]];
    });
  }

  function paint() {
    const { measure: name, axis, scale } = fields.values();
    const floors = data?.floor.map((row) => row[name]) ?? [];
    const band = floors.length > 1 ? bandOf(floors) : null;
    const samplers = [...new Set(data?.rows.map(({ sampler }) => sampler) ?? [])];
    const lines = samplers.map((sampler) => ({ name: sampler, colour: colourOf(sampler), marks: true, bars: true, points: summary(name, sampler).map(([steps, calls, mean, sd]) => [axis === "steps" ? steps : calls, mean, sd]) }));
    // On the logarithmic scale the axis begins below what the noise floor lets be seen.
    const seen = lines.flatMap(({ points }) => points.map(([, value]) => value)).filter((value) => value > 0);
    const foot = Math.min(band && band.high > 0 ? band.high / 3 : Infinity, ...seen.filter((value) => !band || value > band.high));
    const log = scale === "log" && name !== "covered" && Number.isFinite(foot);
    if (log) for (const line of lines) for (const point of line.points) point[1] = Math.max(point[1], foot);
    const ticks = axis === "steps" ? STEPS : [4, 8, 16, 32, 64, 128, 256];
    chart.update({ x: { label: axis === "steps" ? "steps" : "evaluations of the field", log: true, low: 3.5, high: axis === "steps" ? 146 : 290, ticks }, y: log ? { label: name, log, low: foot } : { label: name }, lines, bands: band ? [band] : [], empty: "Press Measure: each sampler runs with 4, 8, 16, 32, 64 and 128 steps." });
    legend.replaceChildren(...samplers.map((sampler) => el("span", { class: "da-lab-key", style: `--da-layer: ${colourOf(sampler)}` }, SHORT[sampler])), ...(band ? [el("span", { class: "da-lab-key da-lab-key-floor" }, "noise floor")] : []));
    table.hidden = !samplers.length;
    table.replaceChildren(
      el("caption", { class: "da-offscreen" }, MEASURES.find(([key]) => key === name)[1]),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "steps"), ...samplers.map((sampler) => el("th", { scope: "col" }, SHORT[sampler])))),
      el("tbody", {}, ...STEPS.map((steps) => el("tr", {}, el("th", { scope: "row" }, String(steps)), ...samplers.map((sampler) => {
        const found = summary(name, sampler).find(([at]) => at === steps);
        return el("td", {}, found ? `${significant(found[2], 3)} ± ${significant(found[3], 2)}` : "–");
      })))),
    );
  }

  // Mean and two standard deviations either way.
  function bandOf(values) {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
    return { low: mean - 2 * sd, high: mean + 2 * sd };
  }

  const colourOf = (sampler) => ({ heun: inks().burgundy, ddim: inks().ink }[sampler] ?? palette[CHOICES.findIndex(([name]) => name === sampler)]);

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
