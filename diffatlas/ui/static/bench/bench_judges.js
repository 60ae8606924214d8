// Judging what is there already, by another scorer or once more: no image is made.

import { el } from "../core/dom.js";

/** Create the row in `root`. `scorers` are [{name, about}] that there are; `onJudge(names, again)` begins. */
export function createJudges(root, { scorers, onJudge }) {
  const which = el("select", { class: "da-select", onchange: () => draw() }, ...scorers.map(({ name, about }) => el("option", { value: name, title: about }, name)));
  const again = el("input", { type: "checkbox", class: "da-check" });
  const go = el("button", { type: "button", class: "da-button", onclick: () => onJudge([which.value], again.checked) }, "Judge");
  const about = el("p", { class: "da-caption" });
  root.append(
    el("div", { class: "da-cards-bar" }, el("label", { class: "da-field" }, el("span", {}, "By"), which), el("label", { class: "da-cards-blind" }, again, el("span", {}, "What was judged already too")), go),
    about,
  );
  let state = null;

  function draw() {
    const { name, about: words } = scorers.find((each) => each.name === which.value) ?? { name: "", about: "" };
    const judged = state.scorers[name]?.judged ?? 0;
    const made = Object.values(state.lanes).reduce((total, lane) => total + lane.complete, 0);
    go.disabled = state.busy || !made;
    const said = [words, judged ? `It has judged ${judged} of ${made} images.` : `It has judged none of ${made} images.`].filter(Boolean).join(" ");
    if (about.textContent !== said) about.textContent = said;
  }

  function update(next) {
    state = next;
    if (state.bench) draw();
  }

  return { update };
}
