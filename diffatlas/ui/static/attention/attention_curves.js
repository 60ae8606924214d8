// Curves of a run's attention: how spread it is, when it moves, and how much the chosen word is read.

import { createPlots } from "./attention_plots.js";
import { wordText } from "./attention_stage.js";
import { el } from "../core/dom.js";

/** Create the curves; `onGo(position)` is called for a step. */
export function createAttentionCurves({ onGo }) {
  const plots = createPlots({ onGo });
  const note = el("p", { class: "da-caption" });
  const node = el("div", {}, plots.node, note);

  function update(state) {
    const { data, at, maps } = state;
    if (!data) return;
    const wanted = {};
    if (data.activation) {
      const peaks = data.steps.flatMap((step, k) => (data.spikes.includes(step.index) ? [k] : []));
      wanted.activation = { metric: { name: "activation", label: `Activation of ${wordText(state)}` }, rows: [{ values: maps?.activation ?? data.steps.map(() => null) }] };
      wanted.attention_entropy = { metric: { name: "attention_entropy", label: "Attention entropy", unit: "nats" }, rows: [{ values: data.entropy }] };
      wanted.attention_kl = { metric: { name: "attention_kl", label: "Reallocation", unit: "nats", absent: "There is one captured step, and none before it." }, rows: [{ values: data.kl, peaks }] };
    }
    if (data.self_entropy) wanted.self_attention_entropy = { metric: { name: "self_attention_entropy", label: "Self-attention entropy", unit: "nats" }, rows: [{ values: data.self_entropy }] };
    // The label of a plot is made once; another word is another plot.
    const named = Object.fromEntries(Object.entries(wanted).map(([name, entry]) => [`${name} ${entry.metric.label}`, entry]));
    plots.update(named, data.steps, at);
    const spikes = data.spikes.map((index) => index + 1);
    const told = spikes.length ? `Attention moves most at ${spikes.length > 1 ? "steps" : "step"} ${spikes.join(", ")} (ringed).` : "No step stands out from the others (there is no spike).";
    note.textContent = data.activation ? `${told} Choose a step in a curve to go there.` : "Attention to words was not captured in this run.";
  }

  return { node, update };
}
