// A longer question of the 2D Lab: its button, one to stop it, where it stands, and what went wrong.

import { el } from "../core/dom.js";

/**
 * Create the row of a job: `label` on its button, which calls `onRun`. Put `nodes` where it belongs.
 *
 * `run(name, asked, onState)` starts the server's job and follows it; it returns the result, or null where it failed
 * (which is said) or was another lab's. `lab()` is the lab of the last run, `last()` the name of its job.
 */
export function createJob({ store, label, onRun, stoppable = false }) {
  const go = el("button", { type: "button", class: "da-button", onclick: () => onRun() }, label);
  const stop = el("button", { type: "button", class: "da-button", hidden: "", onclick: () => id && store.call("lab_job_stop", { job: id }) }, "Stop");
  const status = el("p", { class: "da-caption", role: "status" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const nodes = [el("div", { class: "da-lab-buttons" }, go, stop), status, problem];
  let id = null;
  let busy = false;
  let of = null;
  let last = null;

  async function run(name, asked, onState = () => {}) {
    const { lab } = store.get();
    of = lab;
    busy = go.disabled = true;
    stop.hidden = !stoppable;
    problem.hidden = true;
    let result = null;
    try {
      result = await store.job(name, asked, (state) => {
        if (store.get().lab !== lab) return;
        if (state.message && !state.done) say(state.message);
        onState(state);
      }, (started) => (id = last = started));
    } catch (error) {
      say("");
      problem.textContent = error.message;
      problem.hidden = false;
    }
    if (result === null && problem.hidden) say(""); // another lab has taken its place
    busy = go.disabled = false;
    stop.hidden = true;
    id = null;
    return result;
  }

  const say = (...words) => status.replaceChildren(...words);

  /** Forget what was said: it is of another lab. */
  function forget() {
    of = null;
    say("");
    problem.hidden = true;
  }

  return { nodes, run, say, forget, lab: () => of, last: () => last, enable: (on) => (go.disabled = busy || !on) };
}
