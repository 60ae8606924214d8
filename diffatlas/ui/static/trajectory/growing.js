// The run in progress, kept up with the server: what is new is asked for once what came before has been drawn. A page
// that is slow gets more steps at a time, and never has a queue of messages between a click and its answer.

import { ask } from "../core/ask.js";
import { BUSY } from "../core/state.js";

const LEAST = 100; // ms from one drawing to the next question
const MOST = 600;
const HIDDEN = 1000; // the same where the window is out of sight
const SHARE = 3; // the pause, in times of what the drawing took: the cores are the run's as well
const FRAMES = 34; // ms that two frames take where nothing is drawn
const TRIES = 5; // for a server that does not answer
const AGAIN = 1000; // ms between them

/** Create it. `onGrown(value)` is given the run as run_view.py describes it; `pointed()` says whether its path is seen.
 *
 * `idle` is the value before any run.
 */
export function createGrowing({ server, idle, onGrown, pointed }) {
  let latest = null; // what Gradio told last: {request, status, changes}
  let value = { ...idle };
  let known = null; // what the next question says that the page knows
  let asking = false;

  /** Take in what Gradio told: a whole value, or that there is something to ask for. */
  function told(next) {
    if (next.steps) {
      latest = known = null;
      value = { ...next };
      onGrown(value);
      return;
    }
    latest = { ...next };
    if (!asking) follow();
  }

  const another = () => latest.request !== value.request;
  const behind = () => BUSY.includes(value.status) || (known !== null && known.changes < latest.changes);
  // Of several runs, the end of one is asked for once more before the next.
  const done = () => known === null || known.late || !BUSY.includes(value.status);

  async function follow() {
    asking = true;
    let failures = 0;
    while (latest && (another() || behind())) {
      if (another() && done()) begin();
      known.late = another();
      try {
        const { late, points, ...asked } = known;
        take(await ask(server, "grown", { ...asked, points: pointed() ? (points ?? 0) : null }));
        failures = 0;
      } catch (error) {
        if ("field" in error || ++failures === TRIES) fail(error);
        else await sleep(AGAIN);
        continue;
      }
      await drawn();
    }
    asking = false;
  }

  function begin() {
    value = { ...idle, request: latest.request };
    known = { request: latest.request, changes: 0, steps: 0, points: null };
  }

  function take({ changes, fields, from, steps, placed }) {
    if (!changes) return;
    value = { ...value, ...fields, steps: [...value.steps.slice(0, from), ...steps] };
    known = { ...known, changes, steps: value.steps.length, points: placed ?? known.points };
  }

  function fail(error) {
    value = { ...value, status: "failed", error: { field: null, message: error.message } };
    known = { ...known, changes: latest.changes };
    onGrown(value);
  }

  // Draw, and leave the run its time.
  async function drawn() {
    const began = performance.now();
    onGrown(value);
    await frame();
    await frame();
    if (!value.steps.length || !BUSY.includes(value.status)) return;
    const took = performance.now() - began - FRAMES;
    await sleep(document.hidden ? HIDDEN : Math.min(MOST, Math.max(LEAST, SHARE * took)));
  }

  return { told };
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A window out of sight has no frames.
function frame() {
  if (document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    requestAnimationFrame(resolve);
    setTimeout(resolve, MOST);
  });
}
