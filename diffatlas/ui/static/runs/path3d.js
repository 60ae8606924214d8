// The 3D view of the layers: it decides what the stage shows and says what cannot be shown. three.js and the
// drawing are fetched when the view is first seen; while it is hidden, nothing is done.

import { el, svg } from "../core/dom.js";
import { chooseSource } from "./space_source.js";

const UMAP = "UMAP keeps neighbours together; its distances and directions are not to scale.";
const NO_WEBGL = "The path needs WebGL, which this browser does not offer. The film and the curves do not.";

/** Create the view in `root`. `onSelect(id, index)` is called with a layer and a step's index. */
export function createPath(root, { onSelect }) {
  const middle = el("p", { class: "da-space-error", hidden: "" });
  const note = el("span", { class: "da-space-note", role: "status" });
  const unit = el("span", { class: "da-space-unit" });
  root.querySelector(".da-ghost")?.remove();
  root.append(ghost(), middle, el("p", { class: "da-space-foot" }, note, unit));
  root.dataset.empty = "";

  let state = null;
  let source = null;
  let space = null;
  let loading = false;
  let missed = true; // changes came while the view was hidden
  let square = null;

  async function load() {
    if (loading) return;
    loading = true;
    try {
      const [THREE, { createSpace }] = await Promise.all([import("../vendor/three.bundle.js"), import("./space.js")]);
      space = createSpace(THREE, root, { onSelect, onUnit });
    } catch (error) {
      console.warn(error);
      delete root.dataset.empty;
      say(middle, NO_WEBGL);
      return;
    }
    look();
  }

  function update(next) {
    state = next;
    look();
  }

  function look() {
    if (!state) return;
    if (!root.clientWidth) {
      missed = true;
      return;
    }
    if (!space) {
      load();
      return;
    }
    source = chooseSource(state, source);
    space.show(source, { selected: state.selected, every: state.every, still: missed });
    missed = false;
    root.toggleAttribute("data-empty", source.kind === "empty");
    const failed = source.kind === "error";
    say(middle, failed ? source.note : "");
    say(note, failed ? "" : source.note);
    sayUnit();
  }

  function onUnit(value) {
    square = value;
    if (value) root.dataset.gridStep = value;
    else delete root.dataset.gridStep;
    sayUnit();
  }

  function sayUnit() {
    const umap = source?.view === "umap" && source.coords.size;
    say(unit, umap ? UMAP : square ? `a square is ${square} × ${square}` : "");
    unit.classList.toggle("da-space-words", Boolean(umap));
  }

  new ResizeObserver(() => missed && look()).observe(root);
  return { update, home: () => space?.home() };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}

// What the path will look like, drawn faintly until there is one.
function ghost() {
  return svg(
    "svg",
    { class: "da-ghost", viewBox: "0 0 400 260", "aria-hidden": "true" },
    svg(
      "defs",
      {},
      svg(
        "linearGradient",
        { id: "da-ghost-ink", x1: 0, x2: 1 },
        svg("stop", { offset: "0", class: "da-ghost-from" }),
        svg("stop", { offset: "1", class: "da-ghost-to" }),
      ),
    ),
    svg("path", { d: "M40 200H360M40 200V40M40 200L90 235", class: "da-ghost-axes" }),
    svg("path", { d: "M70 70C120 60 170 66 205 104S262 182 300 176S338 150 334 128", class: "da-ghost-path" }),
    svg("circle", { cx: 70, cy: 70, r: 5, class: "da-ghost-from" }),
    svg("circle", { cx: 334, cy: 128, r: 5, class: "da-ghost-to" }),
  );
}
