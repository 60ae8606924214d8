// The lanes of a bench and its scorers, a line each: how far they are, what went wrong, and a lane's own Stop and Retry.

import { el } from "../core/dom.js";
import { BUSY } from "../core/state.js";
import { missingOf } from "./bench_words.js";

const WORDS = { waiting: "waits for its turn", loading: "loading", running: "running", judging: "judging" };

/** Create the list in `root`. `onStop(lane)` and `onRetry(keys of cells)` are told. */
export function createBenchLanes(root, { onStop, onRetry }) {
  const lines = new Map();
  const list = el("ul", { class: "da-lanes" });
  root.append(list);

  function update(state) {
    const { bench } = state;
    const lanes = (bench?.lanes ?? []).map((lane) => [`lane ${lane.key}`, lane, null]);
    const scorers = Object.entries(state.scorers).map(([name, scorer]) => [`scorer ${name}`, null, { name, ...scorer }]);
    const wanted = [...lanes, ...scorers];
    for (const [key, line] of lines) {
      if (wanted.some(([each]) => each === key)) continue;
      line.node.remove();
      lines.delete(key);
    }
    wanted.forEach(([key, lane, scorer], at) => {
      if (!lines.has(key)) lines.set(key, lane ? laneLine(lane.key, { onStop, onRetry }) : scorerLine());
      const line = lines.get(key);
      if (list.children[at] !== line.node) list.insertBefore(line.node, list.children[at] ?? null);
      line.update(state, lane ?? scorer);
    });
    root.hidden = !bench;
  }

  return { update };
}

function blankLine(...acts) {
  const name = el("span", { class: "da-lane-name" });
  const bar = el("span", { class: "da-lane-bar", "aria-hidden": "true" }, el("i"));
  const status = el("span", { class: "da-lane-status" });
  const message = el("p", { class: "da-lane-message" });
  const node = el("li", { class: "da-lane" }, name, bar, status, el("span", { class: "da-lane-acts" }, ...acts), message);

  function show({ title, how, share, runs, words, why, wrong }) {
    node.dataset.status = how;
    say(name, title);
    say(status, words);
    bar.classList.toggle("da-still", !runs);
    bar.firstChild.style.width = `${100 * share}%`;
    say(message, why);
    message.hidden = !why;
    message.classList.toggle("da-failed", wrong);
  }

  return { node, show };
}

function laneLine(key, { onStop, onRetry }) {
  let missing = [];
  const stop = el("button", { type: "button", class: "da-plain da-lane-stop", onclick: () => onStop(key) }, "Stop");
  const retry = el("button", { type: "button", class: "da-plain da-lane-retry", onclick: () => onRetry(missing) });
  const { node, show } = blankLine(stop, retry);
  node.dataset.lane = key;

  function update(state, lane) {
    const { status, message, all, complete, failed } = state.lanes[key] ?? { status: "waiting", message: "", all: 0, complete: 0, failed: 0 };
    const runs = state.busy && BUSY.includes(status);
    missing = failed && !runs ? missingOf(state, key, true) : [];
    const words = [runs ? (WORDS[status] ?? status) : null, `${complete} of ${all}`, failed ? `${failed} failed` : null];
    show({ title: lane.name, how: status, share: (complete + failed) / Math.max(1, all), runs, words: words.filter(Boolean).join(" · "), why: message, wrong: status === "failed" });
    stop.hidden = !runs || state.bench.lanes.length < 2;
    stop.setAttribute("aria-label", `Stop ${lane.name}`);
    retry.hidden = state.busy || !missing.length;
    say(retry, `Retry ${missing.length} failed`);
  }

  return { node, update };
}

function scorerLine() {
  const { node, show } = blankLine();

  function update(state, { name, status, message, judged }) {
    const complete = Object.values(state.lanes).reduce((total, lane) => total + lane.complete, 0);
    const runs = state.busy && ["waiting", "loading", "judging"].includes(status);
    const words = [runs ? (WORDS[status] ?? status) : null, `${judged} of ${complete} judged`];
    show({ title: `Judge: ${name}`, how: status, share: judged / Math.max(1, complete), runs, words: words.filter(Boolean).join(" · "), why: message, wrong: status === "failed" });
  }

  return { node, update };
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
