// One cell of a study: a line about the one that was chosen, and its picture enlarged where it left no run.

import { ask } from "../core/ask.js";
import { createDialog } from "../core/dialog.js";
import { el, isDark } from "../core/dom.js";
import { significant } from "../core/format.js";
import { createPictureHistogram } from "../runs/picture_histogram.js";
import { baselineOf, baselineWord, captionOf, distancesOf, nameOf, placeOf, told } from "../runs/study_words.js";
import { term } from "../core/tips.js";

/** Create the line about the chosen cell in `root`; `onOpen(key)` enlarges it. */
export function createChosen(root, { onOpen }) {
  const shot = el("span", { class: "da-chosen-shot", "aria-hidden": "true" });
  const name = el("strong", { class: "da-chosen-name" });
  const caption = el("span", { class: "da-chosen-caption" });
  const numbers = el("span", { class: "da-chosen-numbers" });
  let key = null;
  const open = el("button", { type: "button", class: "da-button", onclick: () => onOpen(key) }, "Enlarge");
  root.append(shot, el("div", { class: "da-chosen-text" }, name, caption, numbers), open);
  let drawn = "";

  function update(state) {
    const cell = state.view === "grid" ? null : state.study?.cells.find((each) => each.key === state.cell);
    root.hidden = !cell;
    if (!cell) return;
    key = cell.key;
    const now = told(state.cells, key);
    const { basin, shows } = placeOf(state, cell);
    const facts = [
      cell.column === baselineOf(state) ? baselineWord(state.study) : null,
      ...distancesOf(state, cell).map(({ label, value }) => `${label} ${significant(value, 3)}`),
      basin === null ? null : `basin ${basin}`,
      shows,
    ].filter(Boolean);
    const image = now.image ?? now.preview;
    const words = captionOf(state, cell);
    const next = JSON.stringify([image, nameOf(state.study, cell), words, facts]);
    open.disabled = !now.run && !now.image;
    if (next === drawn) return;
    drawn = next;
    shot.replaceChildren(...(image ? [el("img", { src: image, alt: "" })] : []));
    name.textContent = nameOf(state.study, cell);
    caption.textContent = words;
    numbers.textContent = facts.join(" · ");
  }

  return { update };
}

/** Create the dialog of a picture without a run: `open(state, cell, image)`. */
export function createCellDialog({ server }) {
  const view = createDialog("da-cell-dialog");
  const picture = el("figure", { class: "da-cell-large" });
  const caption = el("p", { class: "da-caption" });
  const statistics = el("dl", { class: "da-numbers" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const histogram = createPictureHistogram();
  const words = "This backend returns the finished image alone: there are no steps to look at.";
  view.body.append(
    problem,
    el("div", { class: "da-cell-columns" }, picture, el("div", {}, caption, el("p", { class: "da-caption" }, words), el("h3", {}, "The picture"), statistics)),
    el("h3", {}, term("histogram", "Histogram")),
    histogram.root,
  );
  let ticket = 0;

  async function open(state, cell, image) {
    const { study } = state;
    const mine = ++ticket;
    view.title.textContent = nameOf(study, cell);
    caption.textContent = captionOf(state, cell);
    picture.replaceChildren(el("img", { src: image, alt: cell.params?.prompt ?? "" }));
    statistics.replaceChildren();
    histogram.update(null);
    problem.hidden = true;
    view.open();
    try {
      const answer = await ask(server, "image_detail", { id: study.id, cell: cell.key, dark: isDark() });
      if (mine !== ticket) return;
      if (answer.image) picture.firstChild.src = answer.image;
      histogram.update(answer.histogram);
      statistics.replaceChildren(
        ...answer.statistics.flatMap(({ key, label, value, unit }) => [el("dt", {}, term(key, label)), el("dd", {}, value === null ? "–" : `${significant(value)}${unit ? ` ${unit}` : ""}`)]),
      );
    } catch (error) {
      if (mine !== ticket) return;
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }

  return { open };
}
