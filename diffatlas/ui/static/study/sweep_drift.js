// What a sweep was measured to do: the server's figures of drift by value and of guidance by step, and how far its lanes
// agree.

import { el } from "../core/dom.js";
import { createDrawn } from "../figures/drawn.js";
import { createAgreement } from "./study_agreement.js";
import { together } from "./study_layers.js";

const DEFINED = { parting: "Parting step", collapse: "Mode collapse", clipping: "Clipping", drift: "Drift", diversity: "Diversity", agreement: "Agreement" };

/** Create the view in `root`. `onSelect(key of a cell)` is called when a point or a line of one is chosen. */
export function createDrift(root, { server, onSelect }) {
  const waiting = el("p", { class: "da-caption", role: "status" });
  const values = el("div", { class: "da-drift-values" });
  const steps = el("div", { class: "da-drift-steps" });
  const stepsBox = el("section", {}, el("h3", {}, "Guidance by step"), steps);
  const byValue = createDrawn(values, { server, call: "drift_figure", wide: 260, onChoose: (line, at, key) => key && onSelect(key) });
  const byStep = createDrawn(steps, { server, call: "guidance_figure", most: 2, onChoose: onSelect });
  values.prepend(byValue.files);
  steps.prepend(byStep.files);
  const agreementRoot = el("section", { class: "da-drift-agreement" });
  const agreement = createAgreement(agreementRoot, { server });
  const definitions = el("details", { class: "da-definitions" }, el("summary", {}, "How these are defined"), el("dl", {}));
  const absent = el("p", { class: "da-absent" });
  const body = el("div", { class: "da-drift-body" }, waiting, values, stepsBox, agreementRoot, definitions);
  root.append(absent, body);

  function update({ study, measures, unmeasured, measuring, busy, kept, lane, row, cell }) {
    const { missing } = kept;
    absent.hidden = Boolean(measures);
    body.hidden = !measures;
    if (!measures) {
      byValue.show(null);
      byStep.show(null);
      return say(absent, unmeasured ?? (measuring ? "Measuring…" : busy ? "Measured once all cells have ended." : "There is nothing to measure yet: run a sweep."));
    }
    say(waiting, missing ? `Measuring ${missing === 1 ? "another sweep" : `${missing} other sweeps`}…` : "");
    waiting.hidden = !waiting.textContent;
    const complete = Object.keys(measures.cells ?? {}).length; // measured anew, it is drawn anew
    const asked = { id: study.id, lane, row, complete };
    byValue.show({ ...asked, ...together(kept) });
    stepsBox.hidden = !Object.values(measures.cells ?? {}).some(({ guidance_norm: norm }) => norm);
    byStep.show(stepsBox.hidden ? null : { ...asked, lane: lane ?? study.lanes[0].key });
    byValue.choose(cell ? { key: cell } : null);
    byStep.choose(cell ? { line: cell } : null);
    agreementRoot.hidden = study.lanes.length < 2;
    agreement.update({ study, measures });
    const told = Object.entries(measures.definitions ?? {});
    definitions.hidden = !told.length;
    definitions.lastChild.replaceChildren(...told.flatMap(([key, text]) => [el("dt", {}, DEFINED[key] ?? key.replaceAll("_", " ")), el("dd", {}, text)]));
  }

  return { update };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
