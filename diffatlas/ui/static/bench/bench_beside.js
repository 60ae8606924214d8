// One card beside the other images of its prompt: what its path, its words and its group have of their own.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";

/** Create the fold. `show(bench, key)` turns to a card; it measures when it is unfolded. `onBeside(keys)` opens two runs. */
export function createBeside({ server, onBeside }) {
  const told = el("div", { "aria-live": "polite" });
  const root = el("details", { class: "da-card-beside", hidden: "" }, el("summary", {}, "Beside the other images of its prompt"), told);
  let wish = null; // what is asked of the card in sight
  let known = ""; // of what `told` tells

  async function look() {
    const asked = JSON.stringify(wish);
    if (!root.open || !wish || known === asked) return;
    known = asked;
    told.replaceChildren(el("p", { class: "da-caption" }, "Reading the runs of the prompt…"));
    try {
      const { notes, lines, beside } = await ask(server, "bench_explain", wish);
      if (known !== asked) return;
      const both = () => onBeside([wish.cell, beside]);
      told.replaceChildren(
        ...notes.map((sentence) => el("p", {}, sentence)),
        el("ul", { class: "da-card-reasons" }, ...lines.map(({ about, sentence }) => el("li", { title: about }, sentence))),
        ...(beside ? [el("button", { type: "button", class: "da-button", title: "Both paths on the Trajectory page", onclick: both }, "Its path beside that of one that passed")] : []),
      );
    } catch (error) {
      if (known === asked) told.replaceChildren(el("p", { class: "da-problem", role: "alert" }, error.message));
    }
  }

  function show(bench, key, made) {
    wish = made ? { id: bench.id, cell: key, scorer: bench.scorers[0]?.name ?? "hand" } : null;
    root.hidden = !made;
    known = "";
    told.replaceChildren();
    look();
  }

  root.addEventListener("toggle", look);
  return { root, show };
}
