// The image of one layer and the numbers of its run beside it. All of it is read from the run.

import { el } from "../core/dom.js";
import { seedWords, short, significant, sizeWords } from "../core/format.js";
import { givenPictures } from "./given.js";
import { term } from "../core/tips.js";

/** Fill `picture`, `table` and `given`, say in `whose` which layer it is, and by `notes` what else is to be known. */
export function createNumbers({ picture, table, whose, given, notes }) {
  let drawn = "";
  let names = "";
  let shown = "";

  /** layer: a row of the state, or null; many: whether there are others to tell it from. */
  function update(layer, many) {
    const data = layer?.data ?? null;
    whose.hidden = !layer || !many;
    const name = layer?.name ?? "";
    if (whose.textContent !== name) whose.textContent = name;
    whose.style.setProperty("--da-layer", layer?.colour ?? "var(--da-ink)");
    drawPicture(layer, data);
    drawGiven(data?.inputs ?? []);
    notes.update(data?.notes, data?.run?.known);
    const rows = data?.run ? numbersOf(data) : [];
    const next = rows.map(([name]) => name).join();
    if (next !== names) {
      names = next;
      table.replaceChildren(
        ...rows.flatMap(([name, , key]) => [el("dt", {}, key ? term(key, name) : name), el("dd", {})]),
      );
    }
    // In place, so that an explanation that is being read stays where it is.
    const cells = table.querySelectorAll("dd");
    rows.forEach(([, text], at) => {
      if (cells[at].textContent !== text) cells[at].textContent = text;
    });
  }

  function drawGiven(inputs) {
    const next = JSON.stringify(inputs);
    if (next === shown) return;
    shown = next;
    const pictures = givenPictures(inputs);
    given.replaceChildren(...(pictures ? [pictures] : []));
  }

  function drawPicture(layer, data) {
    const final = data?.image ?? null;
    const source = final ?? data?.steps.findLast((step) => step.preview)?.preview ?? null;
    const label = source || !layer ? "" : data ? "no preview" : (layer.unread ?? "Loading…");
    const next = `${source} ${label}`;
    if (next === drawn) return;
    drawn = next;
    const alt = final ? data.run.prompt : "The latest preview";
    picture.replaceChildren(...(source ? [el("img", { src: source, alt, class: final ? null : "da-provisional" })] : []));
    picture.dataset.label = label;
  }

  return { update };
}

// [name, value, key of the glossary]
function numbersOf({ run, totals, steps }) {
  const done = steps.length;
  // What of a request a provider was sent is in the finding: it does not heed all that is asked.
  if (run.hosted) return [["model", run.model_name, "model"], ["made by", run.hosted.provider]];
  const unguided = run.guidance_scale > 1 ? "" : " (off)";
  const out = [
    ["model", run.model_name, "model"],
    ["seed", seedWords(run.seed).replace("seed ", ""), "seed"],
    ["steps", done === run.total_steps ? String(done) : `${done} of ${run.total_steps}`, "steps"],
    ["guidance", `${short(run.guidance_scale)}${unguided}`, "guidance"],
    ["size", sizeWords(run), "size"],
    ["latents", run.latent_shape.join(" × "), "latents"],
    ["scheduler", run.scheduler, "scheduler"],
  ];
  for (const [name, text, key] of run.also ?? []) out.push([name, text, key]);
  if (run.negative_prompt) out.push(["not", run.negative_prompt, "negative_prompt"]);
  const known = done && (run.initial_sigma ?? steps[done - 1].sigma) !== null;
  if (known) out.push(["sigma", `${significant(run.initial_sigma, 3)} → ${significant(steps[done - 1].sigma, 3)}`, "sigma"]);
  if (totals) {
    out.push(["path length", significant(totals.path_length), "path_length"]);
    out.push(["straightness", significant(totals.straightness, 3), "straightness"]);
    if (totals.seconds !== null) out.push(["seconds", significant(totals.seconds, 3), "seconds"]);
  }
  out.push(["device", run.device, "device"]);
  return out.filter(([, text]) => text);
}
