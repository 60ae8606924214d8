// The density that the network defines, beside the exact one, and how far apart they are in nats.

import { el } from "./dom.js";
import { significant } from "./format.js";
import { createCanvas, decodeShorts } from "./lab_canvas.js";
import { figure } from "./lab_figure.js";
import { createFields } from "./lab_form.js";
import { classOf, classOptions } from "./lab_names.js";
import { colourOf } from "./ramp.js";
import { withTerms } from "./tips.js";

/** Create the view. */
export function createDensityView({ store }) {
  const fields = createFields({ classes: { label: "Class", kind: "select", options: classOptions(null, { all: false }), value: "none" } }, () => {});
  const run = el("button", { type: "button", class: "da-button", onclick: () => measure() }, "Compute the density");
  const status = el("p", { class: "da-caption", role: "status" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const panels = { model: createCanvas({ label: "Density of the network" }), exact: createCanvas({ label: "Density of the target" }) };
  const framed = figure({
    name: "density",
    body: el("div", {}, el("div", { class: "da-lab-fields da-lab-row" }, fields.nodes.classes), el("div", { class: "da-lab-buttons" }, run), status, problem, el("div", { class: "da-lab-panels da-lab-pair" }, el("div", {}, el("h4", {}, "Of the network"), panels.model.node), el("div", {}, el("h4", {}, "Of the target"), panels.exact.node))),
    about: "Every place is carried back to noise along the {probability_flow|flow}, and the change of volume on the way gives its density. Both on one scale, by the square root, so that thin places show.",
    png: () => [panels.model.canvas, panels.exact.canvas],
    csv: () => (data ? [["x", "y", "network", "target"], ...Array.from(data.model, (value, k) => [...place(k), value * data.top, data.exact[k] * data.top])] : []),
  });
  let data = null;
  let of = null;
  let classes = "";
  let busy = false;

  function place(k) {
    const { extent } = store.get();
    return [k % data.cells, Math.floor(k / data.cells)].map((at) => -extent + (2 * extent * at) / (data.cells - 1));
  }

  async function measure() {
    of = store.get().lab;
    busy = run.disabled = true;
    problem.hidden = true;
    status.textContent = "Carrying 2,304 places back to noise…";
    try {
      const got = await store.job("lab_model_density", { classes: classOf(fields.values().classes) }, ({ message, done }) => message && !done && (status.textContent = message));
      if (got) {
        data = { ...got, model: decodeShorts(got.model, 2), exact: decodeShorts(got.exact, 2) };
        status.replaceChildren(...withTerms(`{kl|KL divergence} of the network from the target: ${significant(got.divergence, 3)} ± ${significant(got.spread, 2)} nats. The network’s density sums to ${significant(got.mass, 3)} over the square.`));
      }
    } catch (error) {
      status.textContent = "";
      problem.textContent = error.message;
      problem.hidden = false;
    }
    busy = run.disabled = false;
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
    if (of && of !== state.lab) {
      data = of = null;
      status.textContent = "";
    }
    run.disabled = busy || !state.step;
    paint();
  }

  return { node: framed.node, update, measure, data: () => data };
}
