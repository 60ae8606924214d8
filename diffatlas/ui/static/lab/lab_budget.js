// Where a sampler's error comes from: its steps, or its field. The chart is the server's figure
// (diffatlas/figures/budget.py).

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { askedOf, networkOf } from "./lab_asked.js";
import { createDrawing } from "./lab_drawing.js";
import { figure } from "./lab_figure.js";
import { createJob } from "./lab_job.js";
import { SHORT } from "./lab_names.js";

const POINTS = 500;

/** Create the view. `sampling()` returns what the sampler is asked. */
export function createBudgetView({ store, sampling }) {
  const job = createJob({ store, label: "Split the error", onRun: measure, stoppable: true });
  const drawing = createDrawing({ store, job, call: "lab_budget_figure", empty: "Press Split the error: the same noise goes through the learned and the exact field, in few steps and in many." });
  const framed = figure({
    name: "error-budget",
    body: el("div", {}, ...job.nodes, ...drawing.nodes),
    about: "{error_budget|Error budget} of the sampler, class and guidance of the side.",
    more: drawing.files,
    asked: () => told,
    csv: () => (data ? [["steps", "evaluations", "total", "integration_learned", "integration_exact", "model"], ...data.steps.map((steps, k) => [steps, data.calls[k], data.total[k], data.integration[k], data.exact_integration[k], data.model])] : []),
  });
  let data = null;
  let told = {}; // the network, and what was asked

  async function measure() {
    job.say(`Following ${POINTS} points through both fields…`);
    const asked = { ...sampling(), n: POINTS };
    told = { ...networkOf(store.get()), ...askedOf(asked, store.get().lab) };
    data = await job.run("lab_budget", asked);
    if (data) job.say(`${SHORT[data.sampler]}: the field’s own error is ${significant(data.model, 3)}, whatever the steps.`);
    await drawing.show(data && {});
    return data;
  }

  function update(state) {
    if (job.lab() && job.lab() !== state.lab) {
      data = null;
      job.forget();
    }
    job.enable(state.step);
    drawing.show(data && {});
  }

  return { node: framed.node, update, measure, data: () => data };
}
