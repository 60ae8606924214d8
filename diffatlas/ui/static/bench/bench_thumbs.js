// The small pictures of cards, asked for as the cards come into view, some at a time.

import { ask } from "../core/ask.js";

const AT_ONCE = 48; // pictures of one question
const SETTLED = 40; // ms without another wish

/** Create it. `onCome()` is called when pictures have come. */
export function createThumbs({ server, onCome }) {
  const known = new Map(); // "key run" -> address, or null where there is none
  let bench = null;
  let wanted = []; // [{key, run}] in view, the first first
  let asking = false;
  let timer = 0;
  const nameOf = ({ key, run }) => `${key} ${run}`;

  /** Say which cards are in view: [{key, run}] of the bench `id`. */
  function want(id, cards) {
    if (id !== bench) known.clear();
    bench = id;
    wanted = cards;
    clearTimeout(timer);
    timer = setTimeout(next, SETTLED);
  }

  async function next() {
    const missing = wanted.filter((card) => !known.has(nameOf(card))).slice(0, AT_ONCE);
    if (asking || !missing.length) return;
    asking = true;
    const id = bench;
    try {
      const { thumbs } = await ask(server, "bench_thumbs", { id, cells: missing.map(({ key }) => key) });
      if (id === bench) for (const card of missing) known.set(nameOf(card), thumbs[card.key] ?? null);
    } catch (error) {
      console.warn("bench_thumbs", error);
      if (id === bench) for (const card of missing) known.set(nameOf(card), null);
    }
    asking = false;
    onCome();
    next();
  }

  /** The picture of a card: an address, null where there is none, undefined where it has not come. */
  const get = (key, run) => known.get(nameOf({ key, run }));

  return { want, get };
}
