// The loss as it falls, the floor that it cannot pass, and the error by noise level (diffatlas/figures/loss.py).

import { el, isDark, onTheme } from "../core/dom.js";
import { createFigure } from "../figures/figure.js";
import { plotly } from "../figures/plotly_script.js";
import { networkOf } from "./lab_asked.js";
import { figure } from "./lab_figure.js";

const WIDE = 300; // px that a chart needs: its axes have titles
const EVERY = 1000; // ms between two figures while a network trains, at least
const BREATH = 6; // and how many times as long as the last one took
const LONGEST = 5000; // ms

/** Create the view. */
export function createTrainingView({ store }) {
  const place = el("div", { class: "da-lab-chart" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const chart = createFigure(place, { wide: WIDE });
  const framed = figure({
    title: "Loss",
    name: "loss",
    body: el("div", {}, problem, place),
    about: "{bayes_floor|Bayes floor}: the least loss that any network can reach. {excess|Excess}: how far the prediction of the noise is from the exact one, at points of the target. Without class is the field of the null token, which guidance pushes away from.",
    csv: () => [["step", "loss", "floor"], ...store.get().losses.map(([step, value]) => [step, value, store.get().floor])],
    asked: () => networkOf(store.get()),
    more: [...["SVG", "PNG"].map((format) => [format, () => chart.save(format.toLowerCase())]), ["CSV of the errors", async () => framed.csv(await excessRows(), "excess")]],
  });
  let drawn = ""; // what is on screen
  let asking = false;
  let notBefore = 0;
  let later = 0;

  async function paint() {
    const { lab, revision, step, status } = store.get();
    const across = place.clientWidth < 2 * WIDE ? 1 : 2;
    const ground = JSON.stringify([lab?.lab, isDark(), across]);
    const key = `${ground} ${revision} ${step} ${status === "training"}`;
    if (asking || !lab || key === drawn || !framed.node.clientWidth) return;
    const wait = status === "training" && drawn.startsWith(ground) ? notBefore - performance.now() : 0;
    clearTimeout(later);
    if (wait > 0) {
      later = setTimeout(paint, wait);
      return;
    }
    asking = true;
    let began = performance.now();
    try {
      await plotly();
      began = performance.now(); // fetching that is not part of drawing
      const got = await store.call("lab_loss_figure", { dark: isDark(), across });
      if (store.get().lab === lab) await chart.draw(got);
      say("");
    } catch (error) {
      say(error.message);
    }
    drawn = key;
    asking = false;
    const took = performance.now() - began;
    notBefore = performance.now() + Math.min(LONGEST, Math.max(EVERY, BREATH * took));
    paint();
  }

  async function excessRows() {
    const got = await store.call("lab_excess", {});
    const head = ["level", "sigma", "floor_class", "excess_class", "floor_null", "excess_null"];
    return [head, ...got.levels.map((level, k) => [level, got.sigmas[k], got.class.floor[k], got.class.excess[k], got.null.floor[k], got.null.excess[k]])];
  }

  function say(words) {
    problem.textContent = words;
    problem.hidden = !words;
  }

  new ResizeObserver(paint).observe(place);
  onTheme(paint);
  return { node: framed.node, update: paint };
}
