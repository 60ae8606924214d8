// Files of a bench, a button each.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { download } from "../form/exports.js";

/** Create the row in `root`; `kinds` are {key, label, about, of_lane: whether it is of one lane}. */
export function createBenchFiles(root, { server, kinds }) {
  const message = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const lane = el("select", { class: "da-select" });
  const laneField = el("label", { class: "da-field" }, el("span", {}, "Lane"), lane);
  const judge = el("select", { class: "da-select" });
  const judgeField = el("label", { class: "da-field" }, el("span", {}, "Judge"), judge);
  const buttons = kinds.map((kind) => [kind, el("button", { type: "button", class: "da-button", title: kind.about, onclick: () => fetch(kind) }, kind.label)]);
  const caption = el("p", { class: "da-caption" }, "Verdicts and rates are those of the judge; of GenEval’s folders, the images of the lane.");
  root.append(el("div", { class: "da-export-row" }, ...buttons.map(([, node]) => node)), el("div", { class: "da-cards-bar" }, judgeField, laneField), caption, message);
  const preparing = new Set();
  let state = null;

  async function fetch(kind) {
    preparing.add(kind.key);
    message.hidden = true;
    draw();
    try {
      const { url, name } = await ask(server, "bench_export", { id: state.bench.id, kind: kind.key, lane: kind.of_lane ? lane.value : null, scorer: judge.value || null });
      download(url, name);
    } catch (error) {
      message.textContent = `${kind.label}: ${error.message}`;
      message.hidden = false;
    }
    preparing.delete(kind.key);
    draw();
  }

  function draw() {
    const { bench, busy, lanes } = state;
    const some = Object.values(lanes).some(({ complete }) => complete);
    for (const [{ key, label }, node] of buttons) {
      node.disabled = !bench || busy || !some || preparing.has(key);
      const text = preparing.has(key) ? "Preparing…" : label;
      if (node.textContent !== text) node.textContent = text;
    }
    const all = bench?.lanes ?? [];
    offer(lane, laneField, all.map(({ key, name }) => [key, name]));
    offer(judge, judgeField, [...(bench?.scorers ?? []), { name: "hand" }].map(({ name }) => [name, name]));
  }

  function update(next) {
    state = next;
    draw();
  }

  return { update };
}

function offer(select, field, options) {
  field.hidden = options.length < 2;
  const offered = JSON.stringify(options);
  if (select.dataset.offered === offered) return;
  select.dataset.offered = offered;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
}
