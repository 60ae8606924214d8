// Projections of the visible layers, as the server computes them: asked for once, kept, never shown late.

import { ask } from "../core/ask.js";
import { decodeFloats } from "../core/state.js";

const SETTLE = 100; // ms: a row of quick clicks asks once
const POLL = 1000; // ms between two questions for one that is being computed
const KEPT = 60;

/** Create it; `onChange()` is called when an answer came. */
export function createProjector({ server, onChange }) {
  const kept = new Map();
  let key = null;
  let shown = null;
  let failure = null;
  let timer = 0;

  /** Say what is on screen: {view, ids, fit}, or null where nothing is projected. */
  function want(wish) {
    const fit = wish && wish.view === "pca" && wish.ids.includes(wish.fit) ? wish.fit : "all";
    const next = wish && wish.ids.length ? `${wish.view} ${fit} ${wish.ids.join(" ")}` : null;
    if (next === key) return;
    clearTimeout(timer);
    key = next;
    failure = null;
    if (next === null) {
      if (wish) shown = null;
      return;
    }
    if (kept.has(next)) shown = kept.get(next);
    else timer = setTimeout(() => fetch(next, { view: wish.view, ids: wish.ids, fit }), SETTLE);
  }

  async function fetch(asked, question) {
    let answer = null;
    let message = null;
    try {
      answer = await ask(server, "project", question);
    } catch (error) {
      message = error.message;
    }
    if (answer) {
      const coords = Object.fromEntries(Object.entries(answer.coords).map(([id, floats]) => [id, decodeFloats(floats)]));
      answer = { ...answer, coords, fit: question.fit };
      if (!answer.pending) keep(asked, answer);
    }
    if (asked !== key) return;
    shown = answer;
    failure = message;
    if (answer?.pending) timer = setTimeout(() => fetch(asked, question), POLL);
    onChange();
  }

  function keep(asked, answer) {
    kept.set(asked, answer);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }

  return { want, result: () => shown, error: () => failure };
}
