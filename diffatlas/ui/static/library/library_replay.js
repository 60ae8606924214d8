// Replay: a run is made again from what is stored of it, and compared step by step.

import { ask } from "../core/ask.js";
import { el, isDark } from "../core/dom.js";
import { short } from "../core/format.js";
import { follow } from "../core/jobs.js";
import { departure, machineTold } from "./library_table.js";

/** Create the replay of the run that is shown. It goes on while other runs are looked at. */
export function createReplay({ server }) {
  const replays = new Map(); // id -> {state, error, busy}
  const button = el("button", { type: "button", class: "da-button da-replay", onclick: () => start(shown) }, "Replay");
  const stop = el("button", { type: "button", class: "da-button", hidden: "", onclick: () => halt(shown) }, "Stop");
  const about = el("p", { class: "da-caption" }, "Runs it again from its manifest and compares every step. The run is not recorded.");
  const bar = el("progress", { class: "da-progress", "aria-label": "Replay" });
  const words = el("p", { class: "da-replay-step", role: "status" });
  const report = el("div", { class: "da-replay-report", role: "status" });
  const problem = el("p", { class: "da-problem", role: "alert" });
  const root = el("div", { class: "da-replays" }, el("div", { class: "da-replay-row" }, button, stop, bar, words), about, problem, report);
  let shown = null;

  async function start(id) {
    const replay = { state: null, error: null, busy: true };
    replays.set(id, replay);
    draw();
    try {
      const { job } = await ask(server, "replay", { id, dark: isDark() });
      replay.job = job;
      draw();
      await follow(server, "replay_state", job, {
        ended: (state) => Boolean(state.report),
        onState(state) {
          replay.state = state;
          draw();
        },
      });
    } catch (error) {
      replay.error = error.message;
    }
    replay.busy = false;
    draw();
  }

  async function halt(id) {
    await ask(server, "replay_stop", { job: replays.get(id)?.job }).catch(() => {});
  }

  function draw() {
    const { state = null, error = null, busy = false, job = null } = replays.get(shown) ?? {};
    button.disabled = busy;
    button.textContent = replays.has(shown) && !busy ? "Replay again" : "Replay";
    bar.hidden = words.hidden = !busy;
    stop.hidden = !busy || !job;
    if (state?.total) {
      bar.max = state.total;
      bar.value = state.step;
    } else {
      bar.removeAttribute("value");
    }
    const text = !busy ? "" : state?.step ? `Step ${state.step} of ${state.total}` : state?.message || "Getting ready…";
    if (words.textContent !== text) words.textContent = text;
    about.hidden = Boolean(state?.report);
    problem.hidden = !error;
    problem.textContent = error ?? "";
    report.replaceChildren(...(state?.report ? verdict(state.report) : []));
  }

  /** Show the replay of a run, if there is one; `possible` says whether it can be replayed. */
  function show(id, possible) {
    shown = id;
    root.hidden = !possible;
    draw();
  }

  return { root, show };
}

// The sentence says the verdict, from which step on, and how far off; the rest is what it cannot say.
function verdict(report) {
  const { rows, sentences } = report.environment;
  return [
    el("p", { class: "da-verdict", "data-verdict": report.verdict }, report.sentence),
    report.maximum > 0 ? el("p", { class: "da-mono" }, `No number of the latents is off by more than ${short(report.maximum)}.`) : null,
    departure(report.figure),
    ...(rows.length || sentences.length ? machineTold({ rows, sentences }, "then", "now", "") : []),
  ].filter(Boolean);
}
