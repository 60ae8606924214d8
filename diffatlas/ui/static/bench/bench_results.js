// A bench in numbers: the rates as a chart, a table of each lane and judge, and what they mean.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createDrawn } from "../figures/drawn.js";

const PAUSE = 2000; // ms between two questions while a bench runs

/** Create the view in `root`. `onTag(tag, lane)` shows the cards of a category. */
export function createResults(root, { server, onTag }) {
  const message = el("p", { class: "da-caption", role: "status" });
  const hand = el("input", { type: "checkbox", class: "da-check", checked: "", onchange: () => again() });
  const judge = el("select", { class: "da-select", onchange: () => draw() });
  const judgeField = el("label", { class: "da-field" }, el("span", {}, "Judge"), judge);
  const bar = el("div", { class: "da-cards-bar" }, judgeField, el("label", { class: "da-cards-tick", title: "Counts what a person says in the place of what a judge does" }, hand, el("span", {}, "Marks by hand count")));
  const chart = el("div", { class: "da-bench-chart" });
  const tables = el("div", { class: "da-bench-tables" });
  root.append(bar, message, chart, tables);
  const drawn = createDrawn(chart, { server, call: "bench_rates", most: 1 });
  let state = null;
  let answer = null; // the last that came
  let of = ""; // what it is of
  let asking = false;
  let asked = 0;
  let timer = 0;

  function again() {
    of = "";
    update(state);
  }

  function update(next) {
    state = next;
    if (state.view !== "results") return;
    const { bench } = state;
    bar.hidden = !bench;
    if (!bench) {
      answer = null;
      of = "";
      tables.replaceChildren();
      drawn.show(null);
      write(message, "");
      return;
    }
    const wanted = JSON.stringify([bench.id, state.version, state.marked, hand.checked]);
    if (wanted === of || asking) return;
    const wait = state.busy ? asked + PAUSE - performance.now() : 0;
    clearTimeout(timer);
    if (wait > 0) timer = setTimeout(() => update(state), wait);
    else fetch(wanted);
  }

  async function fetch(wanted) {
    const { bench } = state;
    asking = true;
    asked = performance.now();
    try {
      const found = await ask(server, "bench_results", { id: bench.id, by_hand: hand.checked });
      if (state.bench?.id === bench.id) {
        answer = { ...found, id: bench.id };
        of = wanted;
      }
      write(message, "");
    } catch (error) {
      of = wanted;
      write(message, error.message);
    }
    asking = false;
    draw();
    update(state);
  }

  function draw() {
    if (!answer || state.bench?.id !== answer.id) return;
    const names = [...new Set(answer.tables.map(({ scorer }) => scorer))];
    if (JSON.stringify(names) !== judge.dataset.names) {
      judge.dataset.names = JSON.stringify(names);
      const before = judge.value;
      judge.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
      judge.value = names.includes(before) ? before : (names[0] ?? "");
    }
    judgeField.hidden = names.length < 2;
    const mine = answer.tables.filter(({ scorer }) => scorer === judge.value);
    if (!mine.length) write(message, state.busy ? "The numbers come with the first images." : "Nothing was judged yet: choose a judge below, or judge the cards by hand.");
    const any = mine.some(({ whole }) => whole.cells[0] !== "–");
    chart.hidden = !any;
    drawn.show(any ? { id: answer.id, scorer: judge.value, by_hand: hand.checked, state: of } : null);
    tables.replaceChildren(
      ...mine.map(table),
      ...(answer.between.length ? [el("section", { class: "da-section" }, el("h3", {}, "Between lanes"), ...answer.between.map((words) => el("p", { class: "da-bench-says" }, words)))] : []),
    );
  }

  function table({ lane, lines, whole, sentences }) {
    const { bench } = state;
    const name = bench.lanes.find(({ key }) => key === lane)?.name ?? lane;
    const head = el("tr", {}, el("th", { scope: "col" }, "Category"), ...answer.heads.map(([text, about]) => el("th", { scope: "col", title: about }, text)));
    const row = ({ tag, cells }, open) =>
      el("tr", {}, el("th", { scope: "row" }, open ? el("button", { type: "button", class: "da-row", title: "Show its cards", onclick: () => onTag(tag, bench.lanes.length > 1 ? lane : "") }, tag) : tag), ...cells.map((text) => el("td", {}, text)));
    return el(
      "section",
      { class: "da-bench-table" },
      bench.lanes.length > 1 ? el("h3", {}, name) : null,
      el("div", { class: "da-table-box", tabindex: 0, role: "region", "aria-label": `Rates of ${name}` }, el("table", { class: "da-table" }, el("thead", {}, head), el("tbody", {}, ...lines.map((line) => row(line, true))), el("tfoot", {}, row(whole, false)))),
      ...sentences.map((words) => el("p", { class: "da-bench-says" }, words)),
    );
  }

  return { update };
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
