// The curves of the visible layers: the server's figure (diffatlas/figures/curves.py), continued by a run as it goes on.

import { ask } from "../core/ask.js";
import { el, isDark, onTheme } from "../core/dom.js";
import { createFigure } from "../figures/figure.js";
import { createFiles } from "../figures/figure_files.js";
import { linesFor, READ } from "../figures/figure_lines.js";
import { swatch } from "../figures/labels3d.js";
import { plotly } from "../figures/plotly_script.js";
import { BUSY, series } from "../core/state.js";

const BREATH = 4; // a run that goes on is drawn at most every so many times as long as drawing takes
const AGAIN = 1000; // ms until a figure of a run that goes on is asked for again, where it could not be had

/** Create the curves in `root`. `onSelect(id, index)` is called when a step of a layer is chosen. */
export function createCurves(root, { server, onSelect }) {
  let along = "step";
  const at = el("span", { class: "da-curves-at" });
  const legend = el("span", { class: "da-legend" });
  const files = createFiles({ save: (format) => chart.save(format), say, what: "these curves" });
  const head = el("div", { class: "da-curves-head" }, axisSwitch(), at, legend, files);
  const message = el("p", { class: "da-curves-message", role: "status" });
  root.append(head, message);
  const chart = createFigure(root, { onChoose: (run, state) => onSelect(run, Math.max(0, state - 1)), onPoint: pointAt, named: true });

  let state = null;
  let wanted = ""; // what the figure that is needed is of
  let asking = "";
  let had = null; // {key, figure}: the last one that came
  let drawn = ""; // what is on screen, with the steps of the runs that go on
  let notBefore = 0;
  let busyUntil = 0;
  let later = 0;

  function axisSwitch() {
    switches += 1; // each page has one of its own
    const name = `da-curves-axis-${switches}`;
    const choice = (value, text) => el("label", {}, el("input", { type: "radio", name, value, checked: value === along ? "" : null }), text);
    const choices = [choice("step", "by step"), choice("progress", "by progress")];
    const onchange = (event) => {
      along = event.target.value;
      update(state);
    };
    return el("fieldset", { class: "da-switch", "aria-label": "Horizontal axis", onchange }, ...choices);
  }

  function update(next) {
    state = next;
    if (!state || !root.clientWidth) return; // hidden: drawn when it is shown
    const { layers } = state;
    head.hidden = !layers.length;
    if (!layers.length) {
      chart.node.hidden = true;
      wanted = drawn = "";
      return say("Run a prompt, or show a layer: its curves are drawn here.");
    }
    const dark = isDark();
    const asked = { layers: layers.map(({ id, name, colour }) => ({ id, name, colour: colour?.startsWith("var(") ? null : colour })), along, dark, readings: linesFor(layers.length) };
    // What has ended is asked for anew: only then all of it is known.
    wanted = JSON.stringify([asked, layers.map(({ data }) => (BUSY.includes(data.status) ? "" : data.steps.length))]);
    if (had?.key !== wanted && asking !== wanted && performance.now() >= notBefore) fetchFigure(wanted, asked);
    return show();
  }

  async function fetchFigure(key, asked) {
    asking = key;
    if (!had) say("Drawing the curves…");
    plotly().catch(() => {}); // both at once; what is wrong with it is said where it is used
    try {
      const figure = await ask(server, "curves", asked);
      if (key === wanted) had = { key, figure };
    } catch (error) {
      if (key === wanted) failed(error);
    }
    if (asking === key) asking = "";
    if (had?.key === wanted) update(state);
  }

  // It is asked for anew with the next look; but a run that has only begun may not be there yet, and is looked at often.
  function failed(error) {
    chart.node.hidden = true; // what is there is of other layers
    drawn = "";
    say(error.message);
    if (!state.layers.some(({ data }) => BUSY.includes(data.status))) return;
    notBefore = performance.now() + AGAIN;
    setTimeout(() => update(state), AGAIN);
  }

  // Draw what has come, where that is not on screen yet.
  async function show() {
    explain();
    if (had?.key !== wanted) return;
    const key = `${had.key} ${state.layers.map(({ data }) => data.steps.length)}`;
    if (key !== drawn) {
      const wait = had.key === drawn.slice(0, had.key.length) ? busyUntil - performance.now() : 0;
      clearTimeout(later);
      if (wait > 0) {
        later = setTimeout(() => update(state), wait);
        return;
      }
      drawn = key;
      chart.node.hidden = false;
      const began = performance.now();
      try {
        await chart.draw(continued(had.figure, state.layers, along));
        say("");
      } catch (error) {
        drawn = "";
        say(error.message);
        return;
      }
      busyUntil = performance.now() + BREATH * (performance.now() - began);
    }
    const { selected } = state;
    chart.choose(selected && state.layers.some(({ id }) => id === selected.id) ? { line: selected.id, at: selected.index + 1 } : null);
  }

  function say(words) {
    if (message.textContent !== words) message.textContent = words;
    message.hidden = !words;
  }

  function pointAt(x, run) {
    const text = x === null || state.layers.length < 2 ? "" : along === "step" ? `Step ${Math.round(x)}` : `${Math.round(x)}% of the run`;
    if (at.textContent !== text) at.textContent = text;
    explain(run);
  }

  let explained = "";
  function explain(pointed = null) {
    const { layers, selected } = state;
    const near = pointed ?? selected?.id ?? null;
    const named = layers.length < 2 ? [] : layers.length <= READ ? layers : layers.filter(({ id }) => id === near);
    const key = JSON.stringify([layers.length, named.map(({ id, name, colour, locked }) => [id, name, colour, locked])]);
    if (key === explained) return;
    explained = key;
    // As the figure draws them: only the first line is whole.
    const names = named.map((layer) => el("span", { class: layer.locked ? null : "da-loose" }, swatch(layer.colour, layer !== layers[0]), layer.name));
    legend.replaceChildren(...(names.length || layers.length < 2 ? names : [`${layers.length} layers. Point at a line to read it.`]));
  }

  new ResizeObserver(() => {
    if (state) update(state);
  }).observe(root);
  onTheme(() => state && update(state));
  return { update };
}

let switches = 0;

// The figure with the values of the steps that runs which go on have made since it was asked for.
function continued(figure, layers, along) {
  const running = new Map(layers.filter(({ data }) => BUSY.includes(data.status)).map((layer) => [layer.id, layer.data]));
  if (!running.size) return figure;
  const data = figure.data.map((trace) => {
    const run = running.get(trace.meta?.line);
    if (!run) return trace;
    const first = trace.mode === "lines" ? trace : figure.data.find(({ meta, mode }) => mode === "lines" && meta.line === trace.meta.line && meta.measure === trace.meta.measure);
    const total = Math.max(run.steps.length, run.run?.total_steps ?? 0, 1);
    const values = [first.y[0] ?? null, ...series(run, trace.meta.measure).slice(0, run.steps.length)];
    const places = values.map((_, step) => (along === "step" ? step : (100 * step) / total));
    if (trace.mode === "lines") return { ...trace, x: places, y: values };
    const known = values.flatMap((value, k) => (value === null ? [] : [k]));
    const ends = known.length ? [known[0], known.at(-1)] : [];
    return { ...trace, x: ends.map((k) => places[k]), y: ends.map((k) => values[k]) };
  });
  return { ...figure, data };
}
