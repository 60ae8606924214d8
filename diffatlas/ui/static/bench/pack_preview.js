// What a pack's text says: how many images it makes, its categories, and each prompt with what it demands.

import { el } from "../core/dom.js";
import { plural } from "../runs/library_text.js";

const MOST_SEEDS = 64;

/** Create the preview. `onLine(line)` leads to a line of the text; `onSeeds()` is told of another number of seeds. */
export function createPreview({ onLine, onSeeds }) {
  const seeds = el("input", { type: "number", class: "da-input da-pack-seeds", min: 1, max: MOST_SEEDS, value: 4, "aria-label": "Seeds" });
  const prompts = el("span", {});
  const images = el("strong", {});
  const size = el("p", { class: "da-pack-size" }, prompts, " with ", seeds, " seeds: ", images);
  const tags = el("ul", { class: "da-pack-tags" });
  const tasks = el("ol", { class: "da-pack-tasks" });
  const more = el("p", { class: "da-caption" });
  const node = el("section", { class: "da-pack-preview", "aria-label": "What the pack asks" }, size, tags, tasks, more);
  seeds.addEventListener("input", () => number() && onSeeds());

  function number() {
    const value = Number(seeds.value);
    return Number.isInteger(value) && value >= 1 && value <= MOST_SEEDS ? value : null;
  }

  /** Show what a text says; `stale`: that it was before it had a fault. */
  function update(pack, stale) {
    node.classList.toggle("da-stale", stale);
    node.hidden = !pack;
    if (!pack || stale) return;
    prompts.textContent = plural(pack.prompts, "prompt");
    images.textContent = plural(pack.images, "image");
    tags.replaceChildren(...pack.tags.map((one) => el("li", {}, one.tag, " ", el("b", {}, String(one.prompts)))));
    tasks.replaceChildren(
      ...pack.tasks.map((task) =>
        el(
          "li",
          {},
          el("button", { type: "button", class: "da-pack-task", title: `Line ${task.line}`, onclick: () => onLine(task.line) }, el("span", { class: "da-pack-prompt", dir: "auto" }, task.prompt), el("span", { class: "da-pack-tag" }, task.tag)),
          el("ul", { class: "da-pack-demands" }, ...task.demands.map((words) => el("li", { dir: "auto" }, words))),
        ),
      ),
    );
    more.textContent = pack.more ? `And ${plural(pack.more, "prompt")} more.` : "";
  }

  return { node, update, seeds: () => number() ?? 4 };
}
