// The side of the 2D Lab: the target, the network and its training, and the sampler.

import { el } from "../core/dom.js";
import { createFields } from "./lab_form.js";
import { createMini } from "./lab_mini.js";
import { callsOf, classOf, classOptions, FIELDS, OBJECTIVES, SAMPLERS, SCHEDULES } from "./lab_names.js";

const MOST_FILE = 16_000_000;

// UTF-8, or UTF-16 where a byte order mark says so, as spreadsheets write it; the mark itself is left out.
async function textOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const mark = (bytes[0] << 8) | bytes[1];
  const encoding = bytes.length < 2 ? "utf-8" : { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[mark] ?? "utf-8";
  return new TextDecoder(encoding).decode(bytes);
}

/** Create the section of the target. `onPick(name)`, `onDraw()`, `onTable(text)` and `onFile(text)` are told. */
export function createTargets({ palette, onPick, onDraw, onTable, onFile, onProblem }) {
  const list = el("div", { class: "da-lab-targets", role: "group", "aria-label": "Targets" });
  const draw = el("button", { type: "button", class: "da-plain", onclick: onDraw }, "Draw your own");
  const table = picker("Upload a table", ".csv,.tsv,.txt,text/csv,text/plain", onTable);
  const file = picker("Open a lab", ".json,application/json", onFile);
  const node = section("Target", list, el("div", { class: "da-lab-links" }, draw, table, file));
  const buttons = new Map();

  function picker(label, accept, use) {
    const input = el("input", { type: "file", accept, class: "da-offscreen", tabindex: -1, "aria-hidden": "true" });
    input.addEventListener("change", async () => {
      const [chosen] = input.files;
      input.value = "";
      if (!chosen) return;
      if (chosen.size > MOST_FILE) onProblem("This file is larger than 16 MB: choose a smaller one.");
      else use(await textOf(chosen));
    });
    return el("span", {}, el("button", { type: "button", class: "da-plain", onclick: () => input.click() }, label), input);
  }

  function update({ presets, lab, extent }) {
    if (presets && !buttons.size) {
      for (const { name, title, points, labels } of presets) {
        const mini = createMini({ label: "", palette, radius: 1 });
        const button = el("button", { type: "button", class: "da-lab-target", "data-target": name, onclick: () => onPick(name) }, mini.node, el("span", {}, title));
        buttons.set(name, button);
        list.append(button);
        mini.update(points, labels, extent);
      }
    }
    for (const [name, button] of buttons) button.setAttribute("aria-pressed", String(lab?.name === name));
  }

  return { node, update };
}

/** Create the section of the network. `onTrain()`, `onContinue()`, `onStop()`, `onPretrained()` are told. */
export function createTraining({ onTrain, onContinue, onStop, onPretrained }) {
  const fields = createFields(
    {
      objective: { label: "Predicts", kind: "select", options: OBJECTIVES, value: "v" },
      schedule: { label: "Schedule", kind: "select", options: SCHEDULES, value: "cosine" },
      steps: { label: "Steps", kind: "number", min: 100, max: 100000, step: 100, value: 8000 },
      width: { label: "Width", kind: "number", min: 8, max: 256, step: 1, value: 128 },
      depth: { label: "Layers", kind: "number", min: 1, max: 5, step: 1, value: 3 },
      batch: { label: "Batch", kind: "number", min: 16, max: 1024, step: 1, value: 256 },
      learning_rate: { label: "Learning rate", kind: "number", min: 0.00001, max: 0.05, value: 0.003 },
      label_drop: { label: "Class hidden", kind: "number", min: 0, max: 0.9, step: 0.05, value: 0.2, title: "The share of points whose class is hidden in training, so that the network also learns the field without class" },
      ema: { label: "Average", kind: "number", min: 0, max: 0.9999, value: 0.998, title: "Decay of the moving average of the weights, which is what samples" },
      train_points: { label: "Training points", kind: "number", min: 0, max: 5000, step: 1, value: 0, title: "Size of a fixed training set; 0 draws fresh points for every batch" },
      seed: { label: "Seed", kind: "number", min: 0, max: 2147483647, step: 1, value: 0 },
      pairing: { label: "Noise pairing", kind: "select", options: [["independent", "independent"], ["ot", "optimal transport"]], value: "independent" },
      fourier: { label: "Fourier features of the point", kind: "check", value: true, wide: true },
    },
    (values, name) => {
      // Flow matching goes with its own path, and pairing with both.
      if (name === "objective" && values.objective === "flow") fields.set("schedule", "straight");
      if (name === "objective" && values.objective !== "flow" && values.schedule === "straight") fields.set("schedule", "cosine");
      if (name === "pairing" && values.pairing === "ot") {
        fields.set("objective", "flow");
        fields.set("schedule", "straight");
      } else if (["objective", "schedule"].includes(name)) fields.set("pairing", "independent");
    },
  );
  const { nodes } = fields;
  const train = el("button", { type: "button", class: "da-button da-first da-lab-train", title: "Train a new network from scratch, with the settings above", onclick: onTrain }, "Train");
  const more = el("button", { type: "button", class: "da-button", title: "Train the network in view for so many steps more", onclick: onContinue }, "Continue");
  const stop = el("button", { type: "button", class: "da-button", title: "Stop training; what it has learned stays", onclick: onStop }, "Stop");
  const ready = el("button", { type: "button", class: "da-plain", onclick: onPretrained }, "Use the pretrained network");
  const fold = el("details", { class: "da-lab-fold" }, el("summary", {}, "More settings"), el("div", { class: "da-lab-fields" }, nodes.width, nodes.depth, nodes.batch, nodes.learning_rate, nodes.label_drop, nodes.ema, nodes.train_points, nodes.seed, nodes.pairing, nodes.fourier));
  const about = el("p", { class: "da-lab-about" });
  const node = section("Network", el("div", { class: "da-lab-fields" }, nodes.objective, nodes.schedule, nodes.steps), fold, el("div", { class: "da-lab-links" }, ready), about);
  let known = null;

  function update({ lab, status, busy, presets, drawing }) {
    const training = ["waiting", "training"].includes(status);
    train.disabled = !lab || training || Boolean(drawing) || busy.startsWith("Preparing");
    more.disabled = train.disabled || !lab?.step && status === "idle";
    stop.disabled = !training;
    const preset = presets?.some(({ name }) => name === lab?.name);
    ready.hidden = !preset || training || lab?.origin === "pretrained";
    if (lab && lab !== known) {
      known = lab;
      // A pretrained start has been trained for longer than anyone wants to wait; its other settings are shown.
      for (const [name, value] of Object.entries(lab.recipe)) if (!(lab.origin === "pretrained" && name === "steps")) fields.set(name, value);
    }
    const origin = { scratch: "", pretrained: "Pretrained weights. ", file: "Weights from a file. " }[lab?.origin] ?? "";
    const thinned = lab && lab.given > lab.components ? `Of ${lab.given.toLocaleString("en")} points, ${lab.components.toLocaleString("en")} were kept, evenly. ` : "";
    about.textContent = lab ? `${thinned}${origin}${lab.parameters.toLocaleString("en")} parameters. Settings count for a new network: press Train.` : "";
  }

  return { node, actions: [train, more, stop], update, recipe: fields.values, set: fields.set, blame: fields.blame, clear: fields.clear };
}

/** Create the section of the sampler. `onChange()` is called when something else is asked for. */
export function createSampling({ onChange, onAgain }) {
  const fields = createFields(
    {
      field: { label: "Field", kind: "select", options: FIELDS, value: "learned" },
      sampler: { label: "Sampler", kind: "select", options: SAMPLERS, value: "heun" },
      steps: { label: "Steps", kind: "number", min: 1, max: 1000, step: 1, value: 18 },
      n: { label: "Points", kind: "number", min: 10, max: 5000, step: 10, value: 1000 },
      eta: { label: "η, fresh noise", kind: "range", min: 0, max: 1, step: 0.05, value: 0 },
      churn: { label: "Churn, fresh noise", kind: "range", min: 0, max: 80, step: 1, value: 0 },
      classes: { label: "Class", kind: "select", options: classOptions(null), value: "all" },
      weight: { label: "Guidance w", kind: "range", min: 0, max: 8, step: 0.1, value: 0, title: "(1 + w) times the field with class, less w times the one it is pushed away from; 0 is no guidance" },
      kind: { label: "Away from", kind: "select", options: [["cfg", "the field without class"], ["auto", "a weaker model"]], value: "cfg" },
      interval: { label: "In an interval of σ only", kind: "check", value: false, wide: true },
      low: { label: "from σ", kind: "number", min: 0, value: 0.2 },
      high: { label: "to σ", kind: "number", min: 0, value: 2 },
      seed: { label: "Seed", kind: "number", min: 0, max: 2147483647, step: 1, value: 0 },
      points: { label: "Training points", kind: "number", min: 5, max: 5000, step: 1, value: 500, title: "How many points the field of the training points is made of" },
    },
    () => {
      dress();
      onChange();
    },
  );
  const { nodes } = fields;
  const calls = el("p", { class: "da-lab-about" });
  const again = el("button", { type: "button", class: "da-button", title: "Sample again, with another seed", onclick: () => (fields.set("seed", Math.floor(Math.random() * 1e6)), onAgain()) }, "Sample");
  const node = section("Sampling", el("div", { class: "da-lab-fields" }, nodes.field, nodes.points, nodes.sampler, nodes.steps, nodes.n, nodes.eta, nodes.churn, nodes.classes, nodes.seed, nodes.weight, nodes.kind, nodes.interval, nodes.low, nodes.high), calls);
  let classes = "";

  function dress() {
    const v = fields.values();
    nodes.steps.hidden = v.sampler === "ddpm";
    nodes.eta.hidden = v.sampler !== "ddim";
    nodes.churn.hidden = v.sampler !== "heun";
    nodes.points.hidden = v.field !== "empirical";
    nodes.weight.hidden = v.classes === "none";
    const guided = v.classes !== "none" && v.weight > 0;
    nodes.kind.hidden = nodes.interval.hidden = !guided;
    nodes.low.hidden = nodes.high.hidden = !guided || !v.interval;
    const number = callsOf(v.sampler, v.steps ?? 0) * (guided ? 2 : 1);
    calls.textContent = `${number.toLocaleString("en")} evaluations of the field${guided ? ", two for each guided one" : ""}.`;
  }

  function asked() {
    const v = fields.values();
    return { ...v, classes: classOf(v.classes) };
  }

  function update({ lab, status, drawing }) {
    const names = JSON.stringify(lab?.classes ?? []);
    if (names !== classes) {
      classes = names;
      fields.offer("classes", classOptions(lab));
      dress();
    }
    again.disabled = !lab || Boolean(drawing) || ["waiting", "training"].includes(status);
  }

  dress();
  return {
    node, actions: [again], update, asked, blame: fields.blame, clear: fields.clear,
    set: (values) => {
      for (const [name, value] of Object.entries(values)) if (name in nodes) fields.set(name, value);
      dress();
    },
  };
}

/** Create the bar of the brush. `onDone()`, `onCancel()`, `onClear()`, `onUndo()` are told. */
export function createBrush({ palette, onLabel, onWidth, onDone, onCancel, onUndo }) {
  const swatches = palette.slice(0, 4).map((colour, k) => el("button", { type: "button", class: "da-lab-swatch", style: `--da-layer: ${colour}`, "aria-label": `Class ${k + 1}`, title: `Class ${k + 1}`, onclick: () => onLabel(k) }));
  const width = el("input", { type: "range", min: 0.02, max: 0.3, step: 0.01, value: 0.08, class: "da-slider", "aria-label": "Width of the brush", oninput: () => onWidth(Number(width.value)) });
  const count = el("span", { class: "da-timeline-at" });
  const done = el("button", { type: "button", class: "da-button", onclick: onDone }, "Use as target");
  const undo = el("button", { type: "button", class: "da-plain", onclick: onUndo }, "Undo stroke");
  const node = el("div", { class: "da-lab-brush", hidden: "" }, el("span", {}, "Class"), ...swatches, el("label", { class: "da-lab-brush-width" }, "Brush ", width), count, done, undo, el("button", { type: "button", class: "da-plain", onclick: onCancel }, "Cancel"));

  function update({ drawing }) {
    node.hidden = !drawing;
    if (!drawing) return;
    swatches.forEach((swatch, k) => swatch.setAttribute("aria-pressed", String(k === drawing.label)));
    const points = drawing.labels.length;
    count.textContent = `${points} point${points === 1 ? "" : "s"}`;
    done.disabled = points < 3;
    undo.disabled = !points;
  }

  return { node, update };
}

function section(title, ...children) {
  return el("section", { class: "da-lab-section", "aria-label": title }, el("h2", {}, title), ...children);
}
