// How far apart two images are, against how far apart their noise and their latents were: the server's figure, the pair
// that is pointed at, and the pairs that jump.

import { el } from "../core/dom.js";
import { createDrawn } from "../figures/drawn.js";
import { plain } from "../figures/figure_words.js";
import { absence, definitions, thumb } from "./study_basins.js";
import { together as besides } from "./study_layers.js";
import { createPair } from "./study_pair.js";
import { createTogether } from "./study_together.js";
import { term } from "../core/tips.js";

const JUMPS = 5; // listed at first
const WIDE = 330; // px that a chart needs

/** Create the view in `root`. `onSelect(key of a cell)` is called for a cell of a pair. */
export function createGrowth(root, { server, onSelect }) {
  const frame = el("div", { class: "da-growth-frame" });
  const card = createPair({ onSelect, hint: "Point at a pair to see it, choose it with a click. With the keyboard, the arrow keys lead from pair to pair." });
  const list = el("ol", { class: "da-jumps" });
  const jumpsHead = el("h3", {});
  const jumpsNote = el("p", { class: "da-caption" });
  const more = el("button", { type: "button", class: "da-plain", onclick: () => ((all = true), tellJumps()) });
  const told = definitions();
  const together = createTogether();
  const absent = el("p", { class: "da-absent" });
  const body = el("div", { class: "da-growth-body" }, el("div", { class: "da-growth-columns" }, frame, card.node), together.node, el("section", {}, jumpsHead, jumpsNote, list, more), told.node);
  root.append(absent, body);
  const chart = createDrawn(frame, { server, call: "growth_figure", most: 2, wide: WIDE, onPoint: (point) => tell(point), onChoose: hold, onDrawn: tellJumps });
  frame.prepend(chart.files);

  let state = null;
  let chosen = null; // {a, b} of the pair that is held
  let pointed = null;
  let all = false; // whether every jump is listed

  const lane = () => state?.measures?.lanes?.[state.lane] ?? null;
  const jumps = () => chart.layout()?.meta.jumps ?? [];

  function update(next) {
    if (next.lane !== state?.lane || next.study.id !== state?.study.id) {
      chosen = pointed = null;
      all = false;
    }
    state = next;
    const own = lane();
    const ways = ["growth", "growth_latent"].filter((way) => own?.[way]?.pairs?.length);
    absent.hidden = ways.length > 0;
    body.hidden = !absent.hidden;
    if (!ways.length) {
      const pictures = own?.matrices?.image ? "These cells have pictures only: there is no noise to hold their distances against." : null;
      absent.textContent = own?.growth?.sentence ?? own?.finding ?? pictures ?? absence(state);
      return chart.show(null);
    }
    chart.show({ id: state.study.id, lane: state.lane, complete: own.cells.length, ...besides(state.kept) });
    told.write([
      ["Slope at 0", state.measures.definitions?.growth],
      ["Jump", state.measures.definitions?.jump],
      ["Start distance", state.measures.definitions?.start],
    ]);
    together.update(state, "growth");
    tellJumps();
  }

  function hold({ of: [a, b] }) {
    chosen = { a, b };
    onSelect(b);
    tell(pointed);
  }

  // The pair that is pointed at, else the one that is held, else the strongest jump, which is worth a look.
  function tell(point) {
    pointed = point;
    const pair = chosen ?? jumps()[0] ?? null;
    const at = point ?? (pair && chart.find([pair.a, pair.b]));
    chart.choose({ id: at?.id, touching: state.selected });
    card.show(state, at && at.of, at && numbersOf(at), at?.apart ? "a jump" : null);
    for (const line of list.children) line.firstChild.setAttribute("aria-pressed", String(Boolean(chosen) && line.dataset.pair === `${chosen.a} ${chosen.b}`));
  }

  // The numbers of a pair, as the axes of its chart call them.
  function numbersOf({ panel, x, y }) {
    const layout = chart.layout();
    const axis = (letter) => cap(plain(layout[`${letter}axis${panel ? panel + 1 : ""}`].title.text).split(",")[0]);
    return [[axis("x"), x], [axis("y"), y]];
  }

  function tellJumps() {
    const found = jumps();
    jumpsHead.replaceChildren(term("jump", "Jumps"), found.length ? `: ${found.length}` : "");
    jumpsNote.textContent = state.measures?.note ?? (found.length ? "Pairs whose noise is close and whose images are not, the most unusual first." : "None: where the noise of two cells is close, so are their images.");
    const shown = all ? found : found.slice(0, JUMPS);
    list.replaceChildren(
      ...shown.map(({ a, b, says }) => el("li", { "data-pair": `${a} ${b}` }, el("button", { type: "button", class: "da-jump", "aria-pressed": "false", onclick: () => hold({ of: [a, b] }) }, el("span", { class: "da-jump-shots", "aria-hidden": "true" }, thumb(state.cells, a), thumb(state.cells, b)), el("span", {}, says)))),
    );
    more.hidden = shown.length === found.length;
    more.textContent = `Show ${found.length - shown.length} more`;
    tell(pointed);
  }

  return { update };
}

const cap = (text) => text.charAt(0).toUpperCase() + text.slice(1);
