// The steps as a column to be scrolled: the step at the reading line is the one that is shown, and the other way round.

import { el } from "../../../ui/static/core/dom.js";
import { short, significant } from "../../../ui/static/core/format.js";

const QUIET = 250; // ms after a jump of our own in which scrolling chooses nothing

/** Create the column; `onGo(position)` is called for the step at the reading line. */
export function createScroller({ onGo }) {
  const list = el("ol", { class: "da-scroller-list" });
  const node = el("div", { class: "da-scroller", tabindex: 0, role: "region", "aria-label": "Every step: scroll to go through them" }, list);
  let cards = [];
  let chosen = null;
  let quietUntil = 0;
  let drawn = null;

  node.addEventListener("scroll", () => {
    if (performance.now() < quietUntil || !cards.length) return;
    const at = atLine();
    if (at !== chosen) onGo(at);
  });

  // The reading line moves from the top of the column to its bottom as one scrolls, so that every step comes to it.
  function atLine() {
    const room = node.scrollHeight - node.clientHeight;
    const share = room > 0 ? node.scrollTop / room : 0;
    const line = node.scrollTop + share * node.clientHeight;
    const found = cards.findIndex((card) => card.offsetTop + card.offsetHeight > line);
    return found < 0 ? cards.length - 1 : found;
  }

  // Where to scroll for a card's middle to be at the reading line, and all of it in sight.
  function placeOf({ offsetTop: top, offsetHeight: height }) {
    const room = Math.max(0, node.scrollHeight - node.clientHeight);
    const place = ((top + height / 2) * room) / node.scrollHeight;
    return Math.min(top, Math.max(place, top + height - node.clientHeight));
  }

  function build({ data, curves }) {
    cards = data.steps.map((step, at) => {
      const k = curves.steps.indexOf(step.index + 1);
      const facts = [["t", short(step.timestep)], ["σ", significant(step.sigma_before, 3)]];
      for (const [name, values] of [["norm", curves.norm], ["moved", curves.step_length]]) if (values[k] !== null) facts.push([name, significant(values[k])]);
      if (data.kl) facts.push(["reallocation", data.kl[at] === null ? "–" : significant(data.kl[at], 3)]);
      return el(
        "li",
        { class: `da-scroller-step${data.spikes.includes(step.index) ? " da-spike" : ""}`, onclick: () => onGo(at) },
        step.preview ? el("img", { src: step.preview, alt: "" }) : null,
        el("div", {}, el("p", { class: "da-scroller-number" }, `Step ${step.index + 1}`), el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))),
      );
    });
    list.replaceChildren(...cards);
    chosen = null;
  }

  function update(state, curves) {
    if (state.data !== drawn) {
      drawn = state.data;
      build({ data: state.data, curves });
    }
    if (state.at === chosen) return;
    cards[chosen]?.removeAttribute("aria-current");
    chosen = state.at;
    cards[chosen].setAttribute("aria-current", "step");
    if (atLine() !== chosen) {
      quietUntil = performance.now() + QUIET;
      node.scrollTop = placeOf(cards[chosen]);
    }
  }

  return { node, update };
}
