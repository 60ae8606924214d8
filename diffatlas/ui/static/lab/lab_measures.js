// How near the samples that are shown come to the target, each number beside that of the target against itself.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { term } from "../core/tips.js";

const ROWS = [["mmd2", "MMD²", "mmd"], ["mmd2_fine", "MMD², fine", "mmd"], ["w2", "sliced W₂", "sliced_wasserstein"], ["excess_nll", "surprise, nats", "surprise"], ["tv", "mode shares", "mode_coverage"]];

/** Create the table. `measure(frames)` asks for the numbers of a sampling. */
export function createMeasures({ store }) {
  const body = el("tbody", {});
  const about = el("p", { class: "da-caption" });
  const table = el("table", { class: "da-lab-table" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "distance"), el("th", { scope: "col" }, "samples"), el("th", { scope: "col" }, "chance"))), body);
  const node = el("div", { class: "da-lab-measures", hidden: "" }, table, about);
  let of = null;

  async function measure(frames) {
    try {
      const got = await store.call("lab_measure", {});
      if (store.get().frames !== frames) return;
      of = frames;
      body.replaceChildren(
        ...ROWS.map(([name, label, key]) => {
          const beyond = got.measures[name] > got.chance[name];
          return el("tr", {}, el("th", { scope: "row" }, term(key, label)), el("td", { class: beyond ? "da-lab-beyond" : null }, significant(got.measures[name], 2)), el("td", {}, `≤ ${significant(got.chance[name], 2)}`));
        }),
        el("tr", {}, el("th", { scope: "row" }, "modes covered"), el("td", {}, `${Math.round(100 * got.measures.covered)} %`), el("td", {}, "")),
      );
      about.textContent = `${frames.n.toLocaleString("en")} points, ${frames.calls.toLocaleString("en")} ${frames.asked.weight ? "guided " : ""}evaluations in ${significant(frames.seconds, 2)} s. Chance: the target against itself, mean and two standard deviations; burgundy is beyond it.`;
      update(store.get());
    } catch {
      // Another sampling or another lab has taken its place.
    }
  }

  function update({ frames, live }) {
    node.hidden = !of || of !== frames || Boolean(live);
  }

  return { node, measure, update };
}
