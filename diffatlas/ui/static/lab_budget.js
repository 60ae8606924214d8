// Where a sampler's error comes from: its steps, or its field.

import { el } from "./dom.js";
import { significant } from "./format.js";
import { createChart } from "./lab_chart.js";
import { inks } from "./lab_canvas.js";
import { figure } from "./lab_figure.js";
import { createJob } from "./lab_job.js";
import { SHORT } from "./lab_names.js";

const LINES = [["total", "in all: learned field, these steps", "ink", false], ["integration", "of the steps, learned field", "burgundy", false], ["exact_integration", "of the steps, exact field", "gold", false]];

/** Create the view. `sampling()` returns what the sampler is asked. */
export function createBudgetView({ store, sampling }) {
  const job = createJob({ store, label: "Split the error", onRun: measure, stoppable: true });
  const chart = createChart({ label: "Error of a sampler by steps", height: 270 });
  const legend = el("p", { class: "da-lab-legend" });
  const framed = figure({
    name: "error-budget",
    body: el("div", {}, ...job.nodes, chart.node, legend),
    about: "Root mean square distance between ends that began at the same noise ({error_budget|error budget}), for the sampler, class and guidance of the side. Where the black line leaves the burgundy one, more steps no longer help: what remains is the error of the field.",
    png: () => [chart.canvas],
    csv: () => (data ? [["steps", "evaluations", "total", "integration_learned", "integration_exact", "model"], ...data.steps.map((steps, k) => [steps, data.calls[k], data.total[k], data.integration[k], data.exact_integration[k], data.model])] : []),
  });
  let data = null;

  async function measure() {
    job.say("Following 500 points through both fields…");
    data = await job.run("lab_budget", sampling());
    if (data) job.say(`${SHORT[data.sampler]}: the field’s own error is ${significant(data.model, 3)}, whatever the steps.`);
    paint();
    return data;
  }

  function paint() {
    const colours = inks();
    const lines = data ? LINES.map(([name, , ink]) => ({ name, colour: colours[ink], marks: true, points: data[name].map((value, k) => [data.steps[k], value]) })) : [];
    if (data) lines.push({ name: "model", colour: colours.muted, dashed: true, points: [[4, data.model], [128, data.model]] });
    chart.update({ x: { label: "steps", log: true, low: 3.5, high: 146, ticks: [4, 8, 16, 32, 64, 128] }, y: { label: "distance", log: true }, lines, empty: "Press Split the error: the same noise goes through the learned and the exact field, in few steps and in many." });
    legend.replaceChildren(...(data ? [...LINES.map(([, label, ink]) => el("span", { class: "da-lab-key", style: `--da-layer: ${colours[ink]}` }, label)), el("span", { class: "da-lab-key", style: `--da-layer: ${colours.muted}` }, "of the field (dashed)")] : []));
  }

  function update(state) {
    if (job.lab() && job.lab() !== state.lab) {
      data = null;
      job.forget();
    }
    job.enable(state.step);
    paint();
  }

  return { node: framed.node, update, measure, data: () => data };
}
