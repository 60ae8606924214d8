// What a sweep was measured to do: small multiples by value, a line for each lane, with marks where something begins,
// and beside them the lines of the sweeps that are layers; guidance by step, a line for each value; and all of it in
// sentences.

import { el, isDark, svg } from "../core/dom.js";
import { short, shortened, significant } from "../core/format.js";
import { swatch } from "../figures/labels3d.js";
import { createPlot } from "../figures/plot.js";
import { createAgreement } from "./study_agreement.js";
import { axisOf, beside, curveOn } from "./sweep_beside.js";
import { columnColour, distanceTerm, told } from "../runs/study_words.js";

const LANES = ["var(--da-lane-0)", "var(--da-lane-1)", "var(--da-lane-2)", "var(--da-lane-3)"];
// Besides the distances; `of` reads a cell's numbers.
const OWN = [
  { name: "parting", label: "Parting step", of: (cell) => cell.parting },
  { name: "saturation", label: "Saturation", of: (cell) => cell.saturation },
  { name: "clipped", label: "Clipped share", of: (cell) => cell.clipped },
  { name: "guidance_norm", label: "Guidance norm, mean", of: (cell) => cell.guidance_norm_mean },
  { name: "guidance_angle", label: "Guidance angle, mean", unit: "°", of: (cell) => cell.guidance_angle_mean },
  { name: "straightness", label: "Straightness", of: (cell) => cell.straightness },
  { name: "max", label: "Largest |latent|", of: (cell) => cell.latent_max },
];
const STEPS = [
  { name: "guidance_norm", label: "Guidance norm", unit: "" },
  { name: "guidance_angle", label: "Guidance angle", unit: "°" },
];

/** Create the view in `root`. `onSelect(key of a cell)` is called when a point is clicked. */
export function createDrift(root, { server, onSelect }) {
  const at = el("span", { class: "da-curves-at" });
  const legend = el("span", { class: "da-legend" });
  const head = el("div", { class: "da-curves-head" }, legend, at);
  const together = el("p", { class: "da-caption da-together", role: "status" });
  const values = el("div", { class: "da-plots da-many" });
  const findings = el("div", { class: "da-findings" });
  const stepTitle = el("h3", {});
  const stepAt = el("span", { class: "da-curves-at" });
  const stepLegend = el("span", { class: "da-legend" });
  const steps = el("div", { class: "da-plots da-many" });
  const byStep = el("section", { class: "da-drift-steps" }, stepTitle, el("div", { class: "da-curves-head" }, stepLegend, stepAt), steps);
  const agreementRoot = el("section", { class: "da-drift-agreement" });
  const agreement = createAgreement(agreementRoot, { server, onSelect });
  const definitions = el("details", { class: "da-definitions" }, el("summary", {}, "How these are defined"), el("dl", {}));
  const absent = el("p", { class: "da-absent" });
  const body = el("div", { class: "da-drift-body" }, head, together, values, findings, byStep, agreementRoot, definitions);
  root.append(absent, body);

  let state = null;
  let plots = []; // of values, as createMarked returns them, with `metric`
  let named = "";
  let company = { drawn: [], words: "" }; // the sweeps beside this one
  let axis = []; // the values along the axis: those of the study in view, then those that only others have
  let stepPlots = [];
  let drawn = "";
  let hovered = null; // {x, near}, of the plots of values
  let hoveredStep = null; // the same, of the plots of steps

  function update(next) {
    state = next;
    draw();
  }

  function draw() {
    if (!state || !root.clientWidth) return; // hidden: drawn when it is shown
    const { measures } = state;
    absent.hidden = Boolean(measures);
    body.hidden = !measures;
    if (!measures) {
      say(absent, state.unmeasured ?? (state.measuring ? "Measuring…" : state.busy ? "Measured once all cells have ended." : "There is nothing to measure yet: run a sweep."));
      return;
    }
    const lanes = shownLanes();
    const dark = isDark();
    const { own, others } = state.kept;
    const drawnTogether = others.map(({ id, name, colour }) => [id, name, colour].join());
    const key = [state.study.id, lanes.map(({ key }) => key), state.row, root.clientWidth, dark, versionOf(measures), own.name, own.colour, ...drawnTogether].join();
    if (key !== drawn) {
      drawn = key;
      hovered = hoveredStep = null;
      create(measures);
      company = beside(state);
      axis = axisOf(state.study, company.drawn);
      drawValues(lanes);
      drawSteps(lanes[0], dark);
      tell(lanes);
    }
    say(together, company.words);
    agreementRoot.hidden = state.study.lanes.length < 2;
    agreement.update({ study: state.study, cells: state.cells, measures, lane: lanes[0].key, selected: state.cell, busy: state.busy });
    mark();
    markSteps();
  }

  const shownLanes = () => state.study.lanes.filter(({ key }) => state.lane === null || key === state.lane);

  // The titles read the glossary and the distances that there are, so the plots are made with the first measures.
  function create(measures) {
    const distances = (measures.distances ?? []).map(({ key, label, about }) => ({ name: distanceTerm(key), label, about, distance: key, of: (cell) => cell.drift?.[key] }));
    const varied = { name: "diversity", label: "Diversity between seeds", diversity: true, of: () => null };
    const metrics = [...distances, ...OWN, ...(Object.values(measures.lanes ?? {}).some((lane) => lane.diversity) ? [varied] : [])];
    const next = metrics.map(({ name }) => name).join();
    if (next === named) return;
    named = next;
    const on = {
      hover: (plot, x, y) => {
        hovered = aim(plot, x, y);
        mark();
      },
      leave: () => {
        hovered = null;
        mark();
      },
      click: (plot, x, y) => {
        // The lines of the study in view come first; those of others choose nothing.
        const lane = shownLanes()[aim(plot, x, y).near];
        const column = axis[indexAt(x)]?.column;
        const cell = lane && state.study.cells.find((each) => each.lane === lane.key && each.column === column && (state.row === null || each.row === state.row));
        if (cell) onSelect(cell.key);
      },
    };
    plots = metrics.map((metric) => Object.assign(createMarked({ unit: "", absent: "Not measured in this sweep.", about: "", ...metric }, on), { metric }));
    values.replaceChildren(...plots.map((plot) => plot.node));
    const onStep = {
      hover: (plot, x, y) => {
        hoveredStep = { x, near: plot.nearest(stepRows().map(() => Math.round(x) - 1), y) };
        markSteps();
      },
      leave: () => {
        hoveredStep = null;
        markSteps();
      },
      click: (plot, x, y) => {
        const near = plot.nearest(stepRows().map(() => Math.round(x) - 1), y);
        if (near !== null) onSelect(stepRows()[near].key);
      },
    };
    stepPlots = STEPS.map((metric) => Object.assign(createMarked({ absent: "Guidance was off, or these runs show no steps.", about: "", ...metric }, onStep), { metric }));
    steps.replaceChildren(...stepPlots.map((plot) => plot.node));
  }

  // By value

  function drawValues(lanes) {
    const { study, measures, kept } = state;
    const places = placesOf({ columns: axis, spec: study.spec });
    const range = rangeOf({ columns: axis, spec: study.spec }, places, measures.field);
    const others = company.drawn.flatMap((other) => other.lanes.map((lane, at) => ({ other, lane, colour: other.colour, loose: at > 0, name: other.lanes.length > 1 ? `${other.name}, ${lane.name}` : other.name })));
    const several = lanes.length + others.length > 1;
    for (const plot of plots) {
      const rows = [
        ...lanes.map((lane) => ({ ...gapless(valuesOf(plot.metric, lane.key), places), colour: laneColour(lane.key), loose: lane !== study.lanes[0], running: false })),
        ...others.map(({ other, lane, colour, loose }) => ({ ...gapless(curveOn(axis, other, lane, plot.metric, measures), places), colour, loose, running: false })),
      ];
      plot.rows = rows;
      plot.draw(rows, range, marksOf(plot.metric, lanes, places), `${plot.metric.label} by ${range.label}, ${several ? `${rows.length} lines` : (lanes[0]?.name ?? "")}`);
    }
    const named = lanes.map((lane) => ({ colour: laneColour(lane.key), loose: lane !== study.lanes[0], name: !others.length ? lane.name : `${kept.own.name}${study.lanes.length > 1 ? `, ${lane.name}` : ""} (in view)` }));
    const entry = ({ colour, loose, name }) => el("span", { title: name }, swatch(colour, loose), name);
    legend.classList.toggle("da-legend-long", others.length > 0 || !several);
    legend.replaceChildren(...(several ? [...named, ...others].map(entry) : [el("span", {}, "Each point is a value of the sweep. Click one to choose its cell.")]));
  }

  // Beside other studies a study has the colour of its layer.
  const laneColour = (key) => (company.drawn.length ? state.kept.own.colour : LANES[state.study.lanes.findIndex((lane) => lane.key === key) % LANES.length]);

  // The mean over the rows in sight, one a column.
  function valuesOf(metric, lane) {
    const { study, measures, row } = state;
    const own = measures.lanes?.[lane];
    if (metric.diversity) return own?.diversity ?? study.columns.map(() => null);
    if (metric.distance && row === null && own?.curves?.[metric.distance]) return own.curves[metric.distance];
    return study.columns.map(({ column }) => {
      const cells = study.cells.filter((cell) => cell.lane === lane && cell.column === column && (row === null || cell.row === row));
      const found = cells.map(({ key }) => metric.of(measures.cells?.[key] ?? {}) ?? null).filter((value) => value !== null);
      return found.length ? found.reduce((sum, value) => sum + value, 0) / found.length : null;
    });
  }

  // What begins where: [{x, text, colour}], and the baseline.
  function marksOf(metric, lanes, places) {
    const { measures } = state;
    const x = (column) => places[axis.findIndex((each) => each.column === column)];
    const marks = [];
    if (metric.distance || metric.name === "parting") marks.push({ x: x(measures.baseline), text: "baseline", quiet: true });
    for (const lane of lanes) {
      const own = measures.lanes?.[lane.key];
      const colour = laneColour(lane.key);
      const change = metric.distance && own?.largest_change?.[metric.distance];
      if (change) marks.push({ x: x(change.from), to: x(change.to), text: "largest change", colour });
      if (metric.name === "clipped" && own?.clipping?.column !== null && own?.clipping) marks.push({ x: x(own.clipping.column), text: "clipping begins", colour });
      if (metric.diversity && own?.collapse?.column !== null && own?.collapse) marks.push({ x: x(own.collapse.column), text: "mode collapse begins", colour });
    }
    return marks.filter((mark) => mark.x !== undefined);
  }

  function aim(plot, x, y) {
    return { x, near: plot.nearest(pickedIn(plot, indexAt(x)), y) };
  }

  const pickedIn = (plot, index) => (plot.rows ?? []).map((row) => row.columns.indexOf(index));

  // Which value of the axis is nearest to x.
  function indexAt(x) {
    const away = placesOf({ columns: axis, spec: state.study.spec }).map((place) => Math.abs(place - x));
    return away.indexOf(Math.min(...away));
  }

  function mark() {
    const { study, cell } = state;
    if (!study || !plots.length) return;
    const places = placesOf({ columns: axis, spec: study.spec });
    const chosen = study.cells.find(({ key }) => key === cell);
    const index = hovered ? indexAt(hovered.x) : axis.findIndex(({ column }) => column === chosen?.column);
    const rule = index < 0 || (!hovered && !chosen) ? null : places[index];
    for (const plot of plots) plot.mark({ picked: pickedIn(plot, index), rule, near: hovered?.near ?? null, read: rule === null ? [] : (plot.rows ?? []).map((_, k) => k), several: true });
    say(at, rule === null ? "" : `at ${axis[index].label}`);
  }

  // By step, of one lane

  function stepRows() {
    const { study, measures, row } = state;
    const lane = shownLanes()[0];
    const first = row ?? study.rows[0]?.row;
    return study.cells
      .filter((cell) => cell.lane === lane.key && cell.row === first && told(state.cells, cell.key).status === "complete" && measures.cells?.[cell.key]?.guidance_norm)
      .map((cell) => ({ key: cell.key, label: cell.label, column: study.columns.findIndex(({ column }) => column === cell.column), ...measures.cells[cell.key] }));
  }

  function drawSteps(lane, dark) {
    const rows = stepRows();
    byStep.hidden = !rows.length;
    if (!rows.length) return;
    const { study } = state;
    const seed = study.rows.length > 1 ? `, seed ${study.rows.find(({ row }) => row === (state.row ?? study.rows[0].row)).seed}` : "";
    say(stepTitle, `Guidance by step${study.lanes.length > 1 ? `: ${lane.name}` : ""}${seed}`);
    const last = Math.max(2, ...rows.map((row) => row.guidance_norm.length));
    const ticks = [...new Set([1, Math.round((1 + last) / 2), last])];
    const range = { low: 1, high: last, ticks: ticks.map((tick) => [tick, String(tick)]), label: "step" };
    for (const plot of stepPlots) {
      const lines = rows.map((row) => {
        const values = row[plot.metric.name] ?? [];
        return { values, along: values.map((_, k) => k + 1), colour: columnColour(row.column, study.columns.length, dark), loose: false, running: false };
      });
      plot.draw(lines, range, [], `${plot.metric.label} by step, ${lines.length} values`);
    }
    stepLegend.replaceChildren(...rows.map((row) => el("span", {}, swatch(columnColour(row.column, study.columns.length, dark), false), row.label)));
  }

  function markSteps() {
    if (!state.measures || byStep.hidden) return;
    const rows = stepRows();
    const near = hoveredStep?.near ?? rows.findIndex(({ key }) => key === state.cell);
    const chosen = near !== null && near >= 0 ? near : null;
    const step = hoveredStep ? Math.round(hoveredStep.x) : null;
    const picked = rows.map(() => (step === null ? 0 : step - 1));
    for (const plot of stepPlots) plot.mark({ picked, rule: step, near: chosen, read: step === null || chosen === null ? [] : [chosen], several: true });
    say(stepAt, step === null ? "" : `step ${step}${chosen === null ? "" : `, ${rows[chosen].label}`}`);
  }

  // In words

  function tell(lanes) {
    const { study, measures } = state;
    const several = lanes.length > 1;
    findings.replaceChildren(
      ...lanes.map((lane) => {
        const own = measures.lanes?.[lane.key] ?? {};
        const sentences = [largest(own), parting(lane.key), own.clipping?.sentence, own.collapse?.sentence].filter(Boolean);
        const list = el("ul", {}, ...sentences.map((sentence) => el("li", {}, sentence)));
        return el("section", {}, several ? el("h3", {}, swatch(laneColour(lane.key), lane !== study.lanes[0]), lane.name) : el("h3", {}, "What happens where"), list);
      }),
    );
    const told = Object.entries(measures.definitions ?? {});
    definitions.hidden = !told.length;
    definitions.lastChild.replaceChildren(...told.flatMap(([key, text]) => [el("dt", {}, DEFINED[key] ?? key.replaceAll("_", " ")), el("dd", {}, text)]));
    body.dataset.lanes = study.lanes.length;
  }

  function largest(own) {
    const { study, measures } = state;
    const label = (column) => study.columns.find((each) => each.column === column)?.label ?? "?";
    const steps = new Map();
    for (const { key, label: name } of measures.distances ?? []) {
      const change = own.largest_change?.[key];
      if (!change) continue;
      const where = `from ${label(change.from)} to ${label(change.to)}`;
      steps.set(where, [...(steps.get(where) ?? []), `${lower(name)} (${significant(Math.abs(change.size), 3)})`]);
    }
    if (!steps.size) return null;
    const parts = [...steps].map(([where, names]) => `${where} by ${listed(names)}`);
    return `The largest change between neighbouring values is ${listed(parts)}.`;
  }

  function parting(lane) {
    const { study, measures, row } = state;
    const first = row ?? study.rows[0]?.row;
    const parts = [];
    const never = [];
    for (const cell of study.cells.filter((each) => each.lane === lane && each.row === first && each.column !== measures.baseline)) {
      const own = measures.cells?.[cell.key];
      if (!own || told(state.cells, cell.key).status !== "complete" || own.path_length === null || own.path_length === undefined) continue;
      if (own.parting === null || own.parting === undefined) never.push(cell.label);
      else parts.push(`${cell.label} at step ${own.parting}`);
    }
    if (!parts.length && !never.length) return null;
    const base = study.columns.find(({ column }) => column === measures.baseline)?.label;
    const sentences = [];
    if (parts.length) sentences.push(`The paths part from the baseline (${base}): ${listed(parts)}.`);
    if (never.length) sentences.push(`${parts.length ? "" : `From the baseline (${base}), `}${parts.length ? cap(listed(never)) : listed(never)} ${never.length > 1 ? "do" : "does"} not part, or cannot be held against it step by step.`);
    return sentences.join(" ");
  }

  new ResizeObserver(draw).observe(root);
  return { update };
}

const DEFINED = { parting: "Parting step", collapse: "Mode collapse", clipping: "Clipping", drift: "Drift", diversity: "Diversity", agreement: "Agreement" };

const versions = new WeakMap();
let version = 0;

// A number by which the same answer of the server is recognised.
function versionOf(measures) {
  if (!versions.has(measures)) versions.set(measures, ++version);
  return versions.get(measures);
}

// The values that are known, as a line without gaps, and the columns they belong to.
function gapless(values, places) {
  const order = values.map((_, k) => k).filter((k) => values[k] !== null).sort((a, b) => places[a] - places[b]);
  return { columns: order, values: order.map((k) => values[k]), along: order.map((k) => places[k]) };
}

/** Where the columns lie on the x axis: at their values, where these are numbers to be read as such. */
function placesOf({ columns, spec }) {
  const values = columns.map(({ value }) => value);
  const numbers = (spec?.field ?? "guidance_scale") !== "seed" && values.every((value) => typeof value === "number" && Number.isFinite(value));
  return numbers && new Set(values).size === values.length ? values : columns.map((_, k) => k);
}

const FIELDS = { guidance_scale: "guidance scale", num_inference_steps: "steps", guidance_method: "guidance method" };

function rangeOf({ columns, spec }, places, field) {
  const low = Math.min(...places);
  const high = Math.max(...places);
  const pad = high > low ? 0.02 * (high - low) : 1;
  const order = columns.map((_, k) => k).sort((a, b) => places[a] - places[b]);
  const texts = columns.map(({ label, value }) => shortened(typeof value === "number" ? short(value, 12) : label, 12));
  // As many labels as have room beside each other: the first and the last, and those between that fit.
  const room = (k) => 0.036 * texts[k].length;
  const share = (k) => (places[k] - low + pad) / (high - low + 2 * pad);
  const last = order.at(-1);
  const ticks = [];
  let free = -Infinity;
  for (const k of order) {
    const [from, to] = k === order[0] ? [share(k), share(k) + room(k)] : k === last ? [share(k) - room(k), share(k)] : [share(k) - room(k) / 2, share(k) + room(k) / 2];
    const clear = k === last || to + 0.03 < share(last) - room(last);
    if (from < free || !clear) continue;
    ticks.push([places[k], texts[k]]);
    free = to + 0.03;
  }
  const name = field ?? spec?.field ?? "value";
  return { low: low - pad, high: high + pad, ticks, label: FIELDS[name] ?? String(name).replaceAll("_", " ") };
}

/** A plot (plot.js) with marks behind its lines: {x, to, text, colour, quiet}. */
function createMarked(metric, on) {
  const relay = {
    hover: (_, x, y) => on.hover(plot, x, y),
    leave: () => on.leave(),
    click: (_, x, y) => on.click(plot, x, y),
  };
  const inner = createPlot(metric, relay);
  const layer = svg("g", { class: "da-marks" });
  const plot = { node: inner.node, mark: inner.mark, nearest: inner.nearest, draw };

  function draw(rows, range, marks, spoken) {
    if (!inner.draw(rows, range)) return;
    const chart = inner.node.querySelector("svg");
    const rules = chart ? [...chart.querySelectorAll(".da-grid")] : [];
    if (!rules.length) return;
    chart.setAttribute("aria-label", spoken);
    const number = (name) => Number(rules[0].getAttribute(name));
    const [left, right] = [number("x1"), number("x2")];
    const heights = rules.map((rule) => Number(rule.getAttribute("y1")));
    const [top, bottom] = [Math.min(...heights), Math.max(...heights)];
    const x = (value) => left + ((right - left) * (value - range.low)) / (range.high - range.low);
    layer.replaceChildren(...marks.flatMap((mark) => markOf(mark, x, top, bottom)));
    // Behind the lines.
    chart.insertBefore(layer, chart.children[1] ?? null);
  }

  return plot;
}

function markOf({ x: from, to, text, colour, quiet }, x, top, bottom) {
  const title = svg("title", {}, text);
  const node = to === undefined ? svg("line", { x1: x(from), x2: x(from), y1: top, y2: bottom, class: quiet ? "da-mark-quiet" : "da-mark-line" }, title) : svg("rect", { x: Math.min(x(from), x(to)), width: Math.abs(x(to) - x(from)), y: top, height: bottom - top, class: "da-mark-band" }, title);
  if (colour) node.style.color = colour;
  const dot = to === undefined && !quiet ? [svg("path", { d: `M${x(from) - 4},${top - 7}h8l-4,7z`, class: "da-mark-head", style: `color: ${colour}` })] : [];
  return [node, ...dot];
}

function listed(parts) {
  return parts.length < 2 ? (parts[0] ?? "") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

const cap = (text) => text.charAt(0).toUpperCase() + text.slice(1);
// "Latent L2" within a sentence; an abbreviation keeps its capitals.
const lower = (text) => (/^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text);

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
