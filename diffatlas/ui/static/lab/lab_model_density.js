// The density that the network defines, beside the exact one, and how far apart they are in nats.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { askedOf, networkOf } from "./lab_asked.js";
import { createCanvas, decodeShorts } from "./lab_canvas.js";
import { figure } from "./lab_figure.js";
import { createFields } from "./lab_form.js";
import { createJob } from "./lab_job.js";
import { classOf, classOptions } from "./lab_names.js";
import { colourOf } from "../figures/ramp.js";
import { withTerms } from "../core/tips.js";

/** Create the view. */
export function createDensityView({ store }) {
  const fields = createFields({ classes: { label: "Class", kind: "select", options: classOptions(null, { all: false }), value: "none" } }, () => {});
  const job = createJob({ store, label: "Compute the density", onRun: measure, stoppable: true });
  const panels = { model: createCanvas({ label: "Density of the network" }), exact: createCanvas({ label: "Density of the target" }) };
  const framed = figure({
    name: "density",
    body: el("div", {}, el("div", { class: "da-lab-fields da-lab-row" }, fields.nodes.classes), ...job.nodes, el("div", { class: "da-lab-panels da-lab-pair" }, el("div", {}, el("h4", {}, "Of the network"), panels.model.node), el("div", {}, el("h4", {}, "Of the target"), panels.exact.node))),
    about: "Every place is carried back to noise along the {probability_flow|flow}, and the change of volume on the way gives its density. Both on one scale, by the square root, so that thin places show.",
    png: () => [panels.model.canvas, panels.exact.canvas],
    asked: () => told,
    csv: () => (data ? [["x", "y", "network", "target"], ...Array.from(data.model, (value, k) => [...place(k), value * data.top, data.exact[k] * data.top])] : []),
  });
  let data = null;
  let told = {}; // the network, and what was asked
  let classes = "";

  function place(k) {
    const { extent } = store.get();
    return [k % data.cells, Math.floor(k / data.cells)].map((at) => -extent + (2 * extent * at) / (data.cells - 1));
  }

  async function measure() {
    job.say("Carrying 2,304 places back to noise…");
    const asked = { classes: classOf(fields.values().classes) };
    const network = { ...networkOf(store.get()), ...askedOf(asked, store.get().lab) };
    const got = await job.run("lab_model_density", asked);
    told = network;
    data = got && { ...got, model: decodeShorts(got.model, 2), exact: decodeShorts(got.exact, 2) };
    if (got) job.say(...withTerms(`{kl|KL divergence} of the network from the target: ${significant(got.divergence, 3)} ± ${significant(got.spread, 2)} nats. The network’s density sums to ${significant(got.mass, 3)} over the square.`));
    paint();
    return data;
  }

  function paint() {
    for (const [name, panel] of Object.entries(panels)) {
      panel.draw((context, width, height) => {
        if (!data) return;
        const cell = width / data.cells;
        for (let k = 0; k < data.cells ** 2; k++) {
          context.fillStyle = `rgb(${colourOf(Math.sqrt(Math.max(0, data[name][k]))).join(" ")})`;
          context.fillRect((k % data.cells) * cell, height - (Math.floor(k / data.cells) + 1) * cell, cell + 1, cell + 1);
        }
      });
    }
  }

  function update(state) {
    const names = JSON.stringify(state.lab?.classes);
    if (names !== classes) {
      classes = names;
      fields.offer("classes", classOptions(state.lab, { all: false }));
    }
    if (job.lab() && job.lab() !== state.lab) {
      data = null;
      job.forget();
    }
    job.enable(state.step);
    paint();
  }

  return { node: framed.node, update, measure, data: () => data };
}
