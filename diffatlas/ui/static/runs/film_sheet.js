// One layer of the film: its leader, and a cell for every step. What a step has shown is never made anew.

import { el } from "../core/dom.js";
import { createCell } from "./film_cell.js";
import { seedWords } from "../core/format.js";
import { BUSY } from "../core/state.js";

/** The film of the layer `id`; `exposure` fills its cells. */
export function createSheet(id, exposure) {
  const leader = el("div", { class: "da-leader" });
  const next = el("div", { class: "da-cell", "aria-hidden": "true" }, el("div", { class: "da-unexposed" }));
  const roll = el("div", { class: "da-roll", role: "group" }, next);
  const root = el("div", { class: "da-sheet", "data-layer": id }, leader, roll);
  let cells = [];
  let chosen = null;
  let reachable = null; // the one frame that Tab stops at; the arrow keys lead to the others
  let told = "";

  let every = 1;
  let arranged = 0; // cells that have been thinned

  const sheet = { id, root, key: undefined, update, choose, rove, frame, count: () => cells.length, columns, end, thin, along, drop };

  function update(layer) {
    const { data } = layer;
    const key = data.run?.id ?? data.request;
    if (key !== sheet.key || data.steps.length < cells.length) {
      sheet.key = key;
      exposure.forget(cells);
      cells = [];
      arranged = 0;
      chosen = reachable = null;
      roll.replaceChildren(next);
    }
    const before = cells.length;
    const added = data.steps.slice(before).map(createCell);
    if (added.length) {
      cells.push(...added);
      // The next one begins to pulse anew, so it does so only where it has to be waited for.
      roll.append(...added, next);
      exposure.watch(added, data.steps.slice(before), { metrics: data.metrics, run: data.run });
    }
    const live = BUSY.includes(data.status);
    next.hidden = !live && cells.length > 0;
    next.firstChild.classList.toggle("da-exposing", live);
    root.style.setProperty("--da-cells", cells.length + (next.hidden ? 0 : 1));
    if (reachable === null && cells.length) rove(0);
    tell(layer);
    return added.length;
  }

  function tell(layer) {
    const { name, own, locked, colour, data } = layer;
    const run = data.run;
    const steps = cells.length;
    const facts = run
      ? [
          data.prompt === own ? null : data.prompt,
          seedWords(run.seed),
          run.model_name,
          steps === run.total_steps ? `${steps} steps` : `${steps} of ${run.total_steps} steps`,
        ]
      : [data.prompt === own ? null : data.prompt, null, null, null];
    const text = JSON.stringify([name, locked, colour, facts]);
    if (text === told) return;
    told = text;
    const [prompt, ...rest] = facts;
    root.classList.toggle("da-locked", Boolean(locked));
    root.style.setProperty("--da-layer", colour ?? "var(--da-ink)");
    roll.setAttribute("aria-label", `Film of ${name}, one frame a step`);
    leader.replaceChildren(
      el("strong", { class: "da-leader-name" }, name),
      ...(prompt ? [el("span", { class: "da-leader-prompt", title: prompt }, prompt)] : []),
      ...rest.filter(Boolean).map((fact) => el("span", {}, fact)),
    );
  }

  /** It is not shown again. */
  function drop() {
    exposure.forget(cells);
  }

  function frame(index) {
    return cells[index]?.firstChild ?? null;
  }

  function choose(index) {
    if (chosen !== null) mark(frame(chosen), false);
    chosen = index;
    const node = index === null ? null : frame(index);
    if (node) {
      mark(node, true);
      rove(index);
    }
    return node;
  }

  function rove(index) {
    if (index === reachable) return;
    for (const [at, reach] of [
      [reachable, -1],
      [index, 0],
    ]) {
      for (const button of at === null ? [] : (cells[at]?.children ?? [])) button.tabIndex = reach;
    }
    reachable = index;
  }

  function columns() {
    return getComputedStyle(root).gridTemplateColumns.split(" ").length;
  }

  /** Show every `nth` frame, the first and the last, and the one that is chosen. */
  function thin(nth) {
    if (nth === every && arranged === cells.length) return;
    const from = nth === every ? Math.max(0, arranged - 1) : 0;
    every = nth;
    arranged = cells.length;
    for (let at = from; at < arranged; at++) {
      cells[at].toggleAttribute("data-thinned", at % nth !== 0 && at !== arranged - 1);
    }
  }

  /** The frame `by` shown ones further than `index`. */
  function along(index, by) {
    const last = cells.length - 1;
    if (every === 1) return index + by;
    const place = index === last ? Math.ceil(last / every) : Math.floor(index / every);
    return Math.min(last, (place + by) * every);
  }

  function end() {
    return next.hidden ? cells.at(-1) : next;
  }

  return sheet;
}

function mark(frame, chosen) {
  frame?.classList.toggle("da-chosen", chosen);
  frame?.setAttribute("aria-pressed", String(chosen));
  frame?.parentNode.toggleAttribute("data-chosen", chosen);
}

/** What is there before the first run: a roll that nobody has exposed. */
export function blankSheet() {
  const frames = Array.from({ length: 13 }, () => el("div", { class: "da-unexposed" }));
  const root = el(
    "div",
    { class: "da-sheet da-sheet-blank", "aria-hidden": "true" },
    el(
      "div",
      { class: "da-leader" },
      el("strong", { class: "da-leader-name" }, "Diffusion Atlas"),
      el("span", {}, "unexposed"),
    ),
    el("div", { class: "da-roll" }, ...frames.map((frame) => el("div", { class: "da-cell" }, frame))),
  );
  root.style.setProperty("--da-cells", frames.length);
  return { root, expose: (live) => frames[0].classList.toggle("da-exposing", live) };
}
