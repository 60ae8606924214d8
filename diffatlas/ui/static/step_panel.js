// The step that was chosen: its preview, larger, and its scalars.

import { el } from "./dom.js";
import { short, significant } from "./format.js";

/** Create the panel in `root`. `onSelect(index)` moves to another step, `onSelect(null)` closes it. */
export function createStepPanel(root, { onSelect }) {
  let key = null;

  function show(view, index) {
    root.hidden = index === null;
    const next = index === null ? null : `${view.run.id} ${index} ${view.steps.length}`;
    if (next === key) return;
    key = next;
    if (index === null) return root.replaceChildren();
    const step = view.steps[index];
    const last = view.steps.length - 1;
    const scalars = view.metrics.map((metric, at) => [
      metric.label,
      step.metrics[at] === null ? "–" : `${significant(step.metrics[at])}${metric.unit ? ` ${metric.unit}` : ""}`,
    ]);
    const go = (label, to, off) =>
      el("button", { type: "button", class: "da-plain", disabled: off ? "" : null, onclick: () => onSelect(to) }, label);
    return root.replaceChildren(
      el(
        "div",
        { class: "da-step-picture" },
        step.preview ? el("img", { src: step.preview, alt: `Preview at step ${index + 1}` }) : el("p", { class: "da-absent" }, "no preview at this step"),
      ),
      el(
        "div",
        { class: "da-step-text" },
        el(
          "div",
          { class: "da-step-head" },
          el("h3", { class: "da-step-title" }, `Step ${index + 1} of ${view.run.total_steps}`),
          go("← earlier", index - 1, index === 0),
          go("later →", index + 1, index === last),
          go("close", null, false),
        ),
        el(
          "dl",
          { class: "da-numbers" },
          ...[["Timestep", short(step.timestep, 5)], ["Sigma after the step", significant(step.sigma)], ...scalars].flatMap(([name, value]) => [
            el("dt", {}, name),
            el("dd", {}, value),
          ]),
        ),
      ),
    );
  }

  return { show };
}
