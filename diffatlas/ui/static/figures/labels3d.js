// Words beside points of the scene, as elements, so that they are crisp and follow the theme.

import { el } from "../core/dom.js";

const LINE = 16; // px, the height of a label
const BELOW = [18, 34, 50]; // px from a path's end to its label, the best first
const FEW = 10;
const FOOT = 36; // px at the bottom that belong to the stage's sentences

/** Create the labels in `root`. */
export function createLabels(root) {
  const board = el("div", { class: "da-labels", "aria-hidden": "true" });
  root.append(board);
  const nodes = [];
  return {
    clear: () => board.replaceChildren(...(nodes.length = 0, [])),
    /**
     * Show labels {at, text, kind, colour of a swatch or null, loose}, the most important first, at `project(at)`.
     * One that would cover a label before it goes lower, where there are few, or is left out.
     */
    set(labels, project) {
      while (nodes.length < labels.length) nodes.push(createLabel(board));
      while (nodes.length > labels.length) nodes.pop().remove();
      const [w, h] = [root.clientWidth, root.clientHeight];
      const taken = [];
      labels.forEach((label, k) => {
        const node = nodes[k];
        node.write(label);
        const { x, y } = project(label.at);
        const half = node.width / 2;
        const left = Math.min(Math.max(x, half + 4), w - half - 4);
        const clear = (top, one) => Math.abs(one.left - left) >= one.half + half || Math.abs(one.top - top) >= LINE;
        const drops = label.kind === "axis" ? [0] : labels.length > FEW ? BELOW.slice(0, 1) : BELOW;
        const top = drops
          .map((drop) => Math.min(h - FOOT, Math.max(8, y + drop)))
          .find((place) => taken.every((one) => clear(place, one)));
        node.move(top !== undefined, left, top);
        if (top !== undefined) taken.push({ left, top, half });
      });
    },
  };
}

/** A small sample of a layer's line. */
export function swatch(colour, dashed) {
  const node = el("i", { class: `da-swatch${dashed ? " da-swatch-dashed" : ""}` });
  node.style.color = colour;
  return node;
}

function createLabel(board) {
  const element = board.appendChild(el("span"));
  let written = "";
  const label = {
    width: 0,
    write({ text, kind, colour = null, loose = false }) {
      const key = [text, kind, colour, loose].join("\n");
      if (key === written) return;
      written = key;
      element.className = `da-label da-label-${kind}${loose ? " da-label-loose" : ""}`;
      element.replaceChildren(...(colour ? [swatch(colour, loose)] : []), text);
      label.width = element.offsetWidth;
    },
    move(shown, left, top) {
      element.style.visibility = shown ? "" : "hidden";
      if (shown) element.style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px)`;
    },
    remove: () => element.remove(),
  };
  return label;
}
