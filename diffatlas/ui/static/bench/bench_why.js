// Why did it fail: how failing images differ from passing ones of the same prompts, by the geometry of their runs.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createDrawn } from "../figures/drawn.js";

/** Create the view in `root`. It measures when it is asked to: every run of the bench is read. */
export function createWhy(root, { server }) {
  const judge = el("select", { class: "da-select" });
  const lane = el("select", { class: "da-select" });
  const judgeField = el("label", { class: "da-field" }, el("span", {}, "Judge"), judge);
  const laneField = el("label", { class: "da-field" }, el("span", {}, "Lane"), lane);
  const go = el("button", { type: "button", class: "da-button", onclick: () => look() }, "Measure");
  const message = el("p", { class: "da-caption", role: "status" });
  const chart = el("div", { class: "da-bench-chart" });
  const told = el("div", {});
  root.append(el("div", { class: "da-cards-bar" }, judgeField, laneField, go), message, chart, told);
  const drawn = createDrawn(chart, { server, call: "bench_why_figure", most: 2 });
  let state = null;
  let shown = null; // {id, ...} of what is in sight
  let asking = false;

  async function look() {
    if (asking) return;
    asking = true;
    const { bench } = state;
    const wish = { id: bench.id, scorer: judge.value, lane: lane.value, state: JSON.stringify([state.version, state.marked]) };
    write(message, "Reading the runs of the bench…");
    draw();
    try {
      const { lines } = await ask(server, "bench_why", wish);
      if (state.bench?.id !== bench.id) return;
      shown = wish;
      write(message, "");
      told.replaceChildren(...lines.map(({ about, sentence }) => el("p", { class: "da-bench-says", title: about }, sentence)));
    } catch (error) {
      write(message, error.message);
    } finally {
      asking = false;
      draw();
    }
  }

  function draw() {
    const { bench, busy } = state;
    const stale = shown !== null && shown.id !== bench?.id;
    if (stale) {
      shown = null;
      told.replaceChildren();
    }
    offer(judge, judgeField, [...(bench?.scorers ?? []), { name: "hand" }].map(({ name }) => [name, name]));
    offer(lane, laneField, (bench?.lanes ?? []).map(({ key, name }) => [key, name]));
    go.disabled = !bench || busy || asking;
    chart.hidden = !shown;
    drawn.show(shown);
    if (!shown && !asking && (busy || !message.textContent || message.textContent === WAITS)) write(message, busy ? WAITS : bench ? ASKS : "");
  }

  function update(next) {
    state = next;
    if (state.view === "why") draw();
  }

  return { update };
}

const WAITS = "This is measured once the bench has ended.";
const ASKS = "Failing images are compared with passing ones of the same prompts: by guidance angle, path, parting step, attention where it was captured, and groups. Prompts that have both tell something.";

function offer(select, field, options) {
  field.hidden = options.length < 2;
  const offered = JSON.stringify(options);
  if (select.dataset.offered === offered) return;
  select.dataset.offered = offered;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
