// The deep dive: every number of every step, and where in the latents each step changes them. Drawn only when it
// is open, layer by layer as they come into sight, and drawn anew only when what it shows has changed.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { changeMaps } from "./change_maps.js";
import { stepTable } from "./step_table.js";
import { term } from "../core/tips.js";

const AT_ONCE = 3; // with more layers than this, only the one that is looked at is unfolded
const TOTALS = [
  ["path_length", "path length", (value) => significant(value)],
  ["chord", "chord", (value) => significant(value)],
  ["straightness", "straightness", (value) => significant(value, 3)],
  ["mean_curvature", "mean curvature", (value) => (value === null ? "–" : `${significant(value, 3)}°`)],
  ["dimensions_95", "dimensions for 95%", (value) => String(value ?? "–")],
  ["seconds", "seconds", (value) => significant(value, 3)],
];

/** Create it in `details`. `onSelect(id, index)` is called for a row or a map. */
export function createDeepDive(details, { server, onSelect }) {
  const body = el("div", { class: "da-deep-body" });
  const note = el("p", { class: "da-caption" });
  details.append(note, body);
  const groups = new Map();
  let state = null;

  const sight = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        sight.unobserve(target);
        groups.get(target.dataset.id)?.see();
      }
    },
    { rootMargin: "400px" },
  );
  details.addEventListener("toggle", () => state && update(state));

  function update(next) {
    state = next;
    if (!details.open) return;
    const ended = state.layers.filter((layer) => layer.data.run && layer.data !== state.live);
    const running = state.live && state.live.run;
    note.hidden = ended.length > 0 && !running;
    note.textContent = running ? "The run in progress comes here once it has ended." : "Nothing to show yet: run a prompt, or show a layer.";
    const ids = ended.map((layer) => layer.id);
    for (const [id, group] of groups) {
      if (ids.includes(id)) continue;
      group.node.remove();
      groups.delete(id);
    }
    for (const layer of ended) {
      if (groups.get(layer.id)?.data !== layer.data) {
        groups.get(layer.id)?.node.remove();
        const open = ended.length <= AT_ONCE || layer.id === state.active?.id;
        groups.set(layer.id, createGroup(layer, { server, onSelect, open }));
        sight.observe(groups.get(layer.id).node);
      }
      groups.get(layer.id).update(layer, state.selected?.id === layer.id ? state.selected.index : null);
    }
    const wanted = ids.map((id) => groups.get(id).node);
    if (wanted.some((node, at) => body.children[at] !== node)) body.replaceChildren(...wanted);
  }

  return { update };
}

function createGroup({ id, data }, { server, onSelect, open }) {
  const title = el("h3", { class: "da-deep-title" });
  const content = el("div", { class: "da-deep-content" });
  const node = el("details", { class: "da-deep-layer", "data-id": id, open: open ? "" : null, ontoggle: fill }, el("summary", {}, title), content);
  const choose = (index) => onSelect(id, index);
  let marked = null;
  let table = null;
  let maps = null;
  let seen = false;

  function see() {
    seen = true;
    fill();
  }

  function fill() {
    if (!seen || !node.open || table) return;
    table = stepTable(data, choose);
    maps = changeMaps({ id, server, onSelect: choose, total: data.steps.length });
    content.replaceChildren(totals(data), table.node, maps.node);
    table.mark(marked);
    maps.mark(marked);
  }

  function update(layer, index) {
    if (title.textContent !== layer.name) title.textContent = layer.name;
    title.classList.toggle("da-temporary", !layer.locked);
    node.style.setProperty("--da-layer", layer.colour);
    marked = index;
    table?.mark(index);
    maps?.mark(index);
  }

  return { node, data, see, update };
}

function totals({ totals: found }) {
  if (!found) return el("p", { class: "da-caption" }, "This run ended before its first step.");
  return el(
    "dl",
    { class: "da-totals" },
    ...TOTALS.map(([name, label, write]) => el("div", {}, el("dt", {}, term(name, label)), el("dd", {}, write(found[name])))),
  );
}
