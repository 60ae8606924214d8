// The loss as it falls, the floor that it cannot pass, and the error by noise level.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { networkOf } from "./lab_asked.js";
import { createChart } from "./lab_chart.js";
import { inks } from "./lab_canvas.js";
import { figure } from "./lab_figure.js";
import { withTerms } from "../core/tips.js";

const MOST = 400; // points of a curve
const EVERY = 1500; // ms between two measurements while a network trains

/** Create the view. */
export function createTrainingView({ store }) {
  const curve = createChart({ label: "Training loss by step" });
  const levels = createChart({ label: "Error by noise level" });
  const numbers = el("p", { class: "da-caption", role: "status" });
  const loss = figure({ title: "Loss", name: "loss", body: curve.node, about: "Mean squared error of what the network predicts, on the batches of training. The gold line is the {bayes_floor|Bayes floor}, the least that any network can reach.", png: () => [curve.canvas], csv: () => [["step", "loss", "floor"], ...store.get().losses.map(([step, value]) => [step, value, store.get().floor])], asked: () => networkOf(store.get()) });
  const error = figure({ title: "Error by noise level", name: "excess", body: el("div", {}, levels.node, numbers), about: "How far the prediction of the noise is from the exact one ({excess|excess}), at points of the target, beside the floor. Without class is the field of the null token, which guidance pushes away from.", png: () => [levels.canvas], csv: excessRows, asked: () => told });
  const node = el("div", { class: "da-lab-two" }, loss.node, error.node);
  let busy = false;
  let last = 0;
  let key = "";
  let data = null;
  let told = {}; // the network whose error was measured

  async function measure() {
    if (busy || !store.get().lab) return;
    busy = true;
    const { lab } = store.get();
    try {
      const of = networkOf(store.get());
      const got = await store.call("lab_excess", {});
      if (store.get().lab === lab) [data, told] = [got, of];
      say(data);
    } catch (failure) {
      data = null;
      numbers.textContent = failure.message;
    }
    busy = false;
    last = performance.now();
    paintLevels();
  }

  function say(got) {
    const part = ({ relative }) => `${significant(100 * relative, 3)} %`;
    numbers.replaceChildren(...withTerms(`Over all levels the {excess|excess} is ${part(got.class)} of the floor with class, ${part(got.null)} without.`));
  }

  function paintLevels() {
    const colours = inks();
    const line = (name, which, colour, dashed = false) => ({ name, colour, dashed, marks: !dashed, points: data[which][name].map((value, k) => [data.levels[k], value]) });
    levels.update({
      x: { label: "noise level t", low: 0, high: 1000, ticks: [0, 200, 400, 600, 800, 1000] },
      y: { label: "error", log: true },
      lines: data ? [line("floor", "class", colours.gold, true), line("excess", "class", colours.burgundy), line("excess", "null", colours.muted)] : [],
      empty: "Measured once a network has been trained.",
    });
  }

  function excessRows() {
    if (!data) return [];
    const head = ["level", "sigma", "floor_class", "excess_class", "floor_null", "excess_null"];
    return [head, ...data.levels.map((level, k) => [level, data.sigmas[k], data.class.floor[k], data.class.excess[k], data.null.floor[k], data.null.excess[k]])];
  }

  function update(state) {
    const { losses, floor } = state;
    const stride = Math.max(1, Math.ceil(losses.length / MOST));
    const points = [];
    for (let k = 0; k + stride <= losses.length; k += stride) {
      const part = losses.slice(k, k + stride);
      points.push([part.at(-1)[0], part.reduce((sum, [, value]) => sum + value, 0) / part.length]);
    }
    const colours = inks();
    const most = points.length ? Math.min(Math.max(...points.map(([, value]) => value)), 3 * Math.min(...points.map(([, value]) => value))) : null;
    curve.update({
      x: { label: "step" },
      y: { label: "loss", high: most ?? undefined },
      lines: points.length ? [{ name: "loss", colour: colours.burgundy, points: points.map(([x, y]) => [x, Math.min(y, most)]) }, ...(floor === null ? [] : [{ name: "floor", colour: colours.gold, dashed: true, points: [[points[0][0], floor], [points.at(-1)[0], floor]] }])] : [],
      empty: state.lab?.origin === "pretrained" && state.status === "idle" ? "The losses of the pretrained network were not kept. Train a new one to see them fall." : "Press Train to see the loss fall.",
    });
    const next = `${state.lab?.lab} ${state.revision}`;
    if (next !== key) {
      key = next;
      data = null;
      paintLevels();
      if (state.step) measure();
    } else if (state.status === "training" && state.step && performance.now() - last > EVERY) measure();
    else paintLevels();
  }

  return { node, update, data: () => data };
}
