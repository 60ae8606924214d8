// Judging what is there already, by another scorer or once more: no image is made.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";

/** Create the row in `root`. `scorers` are [{name, about}] that there are; `onJudge(names, again)` begins, and
 * `onThreshold()` is told that verdicts have changed. */
export function createJudges(root, { server, scorers, onJudge, onThreshold }) {
  const which = el("select", { class: "da-select", onchange: () => draw() }, ...scorers.map(({ name, about }) => el("option", { value: name, title: about }, name)));
  const again = el("input", { type: "checkbox", class: "da-check" });
  const go = el("button", { type: "button", class: "da-button", onclick: () => onJudge([which.value], again.checked) }, "Judge");
  const about = el("p", { class: "da-caption" });
  root.append(
    el("div", { class: "da-cards-bar" }, el("label", { class: "da-field" }, el("span", {}, "By"), which), el("label", { class: "da-cards-tick" }, again, el("span", {}, "What was judged already too")), go),
    about,
  );
  const value = el("input", { type: "number", class: "da-input da-judges-threshold", min: -1, max: 1, step: 0.005, onkeydown: (event) => event.key === "Enter" && hold() });
  const apply = el("button", { type: "button", class: "da-button", onclick: () => hold() }, "Hold against it");
  const cosines = el("div", { class: "da-cards-bar", hidden: "" }, el("label", { class: "da-field" }, el("span", {}, "Threshold of its cosines"), value), apply, el("span", { class: "da-caption" }, "At once: the model is not asked again."));
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  root.append(cosines, problem);
  let state = null;
  let held = null; // the threshold that the field began with

  async function hold() {
    problem.hidden = true;
    apply.disabled = true;
    try {
      await ask(server, "bench_threshold", { id: state.bench.id, scorer: which.value, threshold: Number(value.value) });
      onThreshold();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
    apply.disabled = false;
  }

  function draw() {
    const { name, about: words } = scorers.find((each) => each.name === which.value) ?? { name: "", about: "" };
    const judged = state.scorers[name]?.judged ?? 0;
    const made = Object.values(state.lanes).reduce((total, lane) => total + lane.complete, 0);
    go.disabled = state.busy || !made;
    const threshold = state.bench.scorers.find((each) => each.name === which.value)?.threshold ?? null;
    cosines.hidden = threshold === null || state.busy;
    if (threshold !== held) value.value = String((held = threshold) ?? "");
    const said = [words, judged ? `It has judged ${judged} of ${made} images.` : `It has judged none of ${made} images.`].filter(Boolean).join(" ");
    if (about.textContent !== said) about.textContent = said;
  }

  function update(next) {
    state = next;
    if (state.bench) draw();
  }

  return { update };
}
