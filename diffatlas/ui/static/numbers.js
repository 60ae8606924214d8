// The final image and the numbers of the run beside it.

import { el } from "./dom.js";
import { short, significant } from "./format.js";

/** Fill `headline`, `picture` and `table` from the run. */
export function createNumbers({ headline, picture, table }) {
  let source = null;
  let alt = null;

  function update(view) {
    const run = view.run;
    headline.textContent = run ? run.prompt : view.prompt || "";
    const image = view.image || view.steps.findLast((step) => step.preview)?.preview || null;
    const text = !run ? "" : view.image ? run.prompt : "The latest preview";
    if (image !== source || text !== alt) {
      source = image;
      alt = text;
      picture.replaceChildren(...(image ? [el("img", { src: image, alt: text, class: view.image ? "" : "da-provisional" })] : []));
      picture.dataset.label = image ? "" : run ? "no preview" : "";
    }
    table.replaceChildren(...rows(view).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  return { update };
}

function rows(view) {
  const { run, totals, steps } = view;
  if (!run) return [];
  const done = steps.length;
  const unguided = run.guidance_scale > 1 ? "" : " (off)";
  const out = [
    ["model", run.model_name],
    ["seed", String(run.seed)],
    ["steps", done === run.total_steps ? String(done) : `${done} of ${run.total_steps}`],
    ["guidance", `${short(run.guidance_scale)}${unguided}`],
    ["size", `${run.width} × ${run.height}`],
    ["scheduler", run.scheduler],
  ];
  if (run.negative_prompt) out.push(["not", run.negative_prompt]);
  if (done) out.push(["sigma", `${significant(run.initial_sigma, 3)} → ${significant(steps[done - 1].sigma, 3)}`]);
  if (totals) {
    out.push(["path length", significant(totals.path_length)]);
    out.push(["straightness", significant(totals.straightness, 3)]);
    out.push(["seconds", totals.seconds === null ? "–" : significant(totals.seconds, 3)]);
  }
  out.push(["device", run.device]);
  return out;
}
