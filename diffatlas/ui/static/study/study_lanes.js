// The lanes of a study, a line each: how far it is, what went wrong, and its own Stop and Retry.

import { el } from "../core/dom.js";
import { counted, isBusy, told } from "../runs/study_words.js";

/** Create the list in `root`. `onStop(lane)` and `onRetry(keys of cells)` are told. */
export function createLanes(root, { onStop, onRetry }) {
  const lines = new Map();
  const list = el("ul", { class: "da-lanes" });
  root.append(list);

  function update(state) {
    const lanes = state.study?.lanes ?? [];
    for (const [key, line] of lines) {
      if (lanes.some((lane) => lane.key === key)) continue;
      line.node.remove();
      lines.delete(key);
    }
    let some = false;
    lanes.forEach((lane, at) => {
      if (!lines.has(lane.key)) lines.set(lane.key, createLine(lane.key, { onStop, onRetry }));
      const line = lines.get(lane.key);
      if (list.children[at] !== line.node) list.insertBefore(line.node, list.children[at] ?? null);
      some = line.update(state, lane, lanes.length > 1) || some;
    });
    // One lane of which the status line has told everything needs no line of its own.
    root.hidden = lanes.length < 2 && !some;
  }

  return { update };
}

function createLine(key, { onStop, onRetry }) {
  let missing = [];
  const name = el("span", { class: "da-lane-name" });
  const status = el("span", { class: "da-lane-status" });
  const bar = el("span", { class: "da-lane-bar", "aria-hidden": "true" }, el("i"));
  const stop = el("button", { type: "button", class: "da-plain da-lane-stop", onclick: () => onStop(key) }, "Stop");
  const retry = el("button", { type: "button", class: "da-plain da-lane-retry", onclick: () => onRetry(missing) });
  const message = el("p", { class: "da-lane-message" });
  const node = el("li", { class: "da-lane", "data-lane": key }, name, bar, status, el("span", { class: "da-lane-acts" }, stop, retry), message);

  /** Returns whether there is something to do or to read. */
  function update(state, lane, several) {
    const cells = state.study.cells.filter((cell) => cell.lane === key);
    const { all, complete, failed, ended } = counted(state.cells, cells);
    const { status: how = state.value.status, message: why = "" } = state.value.lanes?.[key] ?? {};
    const runs = state.busy && isBusy(how);
    missing = cells.map((cell) => cell.key).filter((cell) => told(state.cells, cell).status !== "complete");
    const onlyFailed = missing.length === failed;
    node.dataset.status = how;
    say(name, several ? lane.name : "");
    name.hidden = !several;
    say(status, [runs ? words(how) : complete === all ? "complete" : ["stopped", "failed"].includes(how) ? how : null, `${complete} of ${all}`, failed ? `${failed} failed` : null].filter(Boolean).join(" · "));
    bar.classList.toggle("da-still", !runs);
    bar.firstChild.style.width = `${(100 * ended) / Math.max(1, all)}%`;
    stop.hidden = !runs || !several;
    stop.setAttribute("aria-label", `Stop ${lane.name}`);
    retry.hidden = runs || !missing.length;
    say(retry, onlyFailed ? `Retry ${failed} failed` : `Run the other ${missing.length}`);
    say(message, why);
    message.hidden = !why;
    message.classList.toggle("da-failed", failed > 0 || how === "failed");
    return !retry.hidden || Boolean(why);
  }

  return { node, update };
}

const words = (status) => ({ waiting: "waits for its turn", loading: "loading", running: "running" })[status] ?? status;

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
