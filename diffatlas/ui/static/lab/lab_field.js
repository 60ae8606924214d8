// The field on a grid of 16 x 16 places: learned, exact, that of the training points, and where they differ.

import { el } from "../core/dom.js";
import { significant } from "../core/format.js";
import { askedOf, networkOf } from "./lab_asked.js";
import { createCanvas, toPixels } from "./lab_canvas.js";
import { figure } from "./lab_figure.js";
import { createFields } from "./lab_form.js";
import { classOf, classOptions, FIELD_NAMES, QUANTITIES } from "./lab_names.js";
import { colourOf } from "../figures/ramp.js";
import { decodeFloats } from "../core/state.js";
import { withTerms } from "../core/tips.js";

const EVERY = 500; // ms between two fields while a network trains

/** Create the view. `sampling()` returns what the sampler is asked, whose guidance the field shows. */
export function createFieldView({ store, sampling }) {
  const fields = createFields(
    {
      t: { label: "Noise, t", kind: "range", min: 0, max: 999, step: 1, value: 200, shown: (t) => `${t} of 1000${store.get().lab ? ` · σ ${significant(store.get().lab.sigmas[t], 3)}` : ""}` },
      quantity: { label: "Shows", kind: "select", options: QUANTITIES, value: "score" },
      classes: { label: "Class", kind: "select", options: classOptions(null, { all: false }), value: "none" },
      points: { label: "Training points", kind: "number", min: 5, max: 5000, step: 1, value: 500 },
    },
    () => refresh(),
  );
  const panels = Object.fromEntries(["learned", "exact", "empirical"].map((name) => [name, createCanvas({ label: `${FIELD_NAMES[name]} field` })]));
  const heat = createCanvas({ label: "Error of the learned field" });
  const numbers = el("dl", { class: "da-lab-numbers" });
  const reading = el("p", { class: "da-lab-reading", role: "status" }, "Point at a place to read the fields there.");
  const note = el("p", { class: "da-caption" });
  const grid = el("div", { class: "da-lab-panels" }, ...Object.entries(panels).map(([name, panel]) => el("div", {}, el("h4", {}, FIELD_NAMES[name]), panel.node)), el("div", {}, el("h4", {}, "Learned less exact"), heat.node));
  const framed = figure({
    name: "field",
    body: el("div", {}, el("div", { class: "da-lab-fields da-lab-row" }, fields.nodes.t, fields.nodes.quantity, fields.nodes.classes, fields.nodes.points), grid, reading, numbers, note),
    about: "Arrows have the direction of the field at their place, and lengths by its square root, on one scale in all panels. The last panel is the length of the difference, light where it is large. Guidance w is that of the sampler.",
    png: () => [...Object.values(panels), heat].map(({ canvas }) => canvas),
    csv: rows,
    asked: () => (data ? data.told : {}),
  });
  let busy = false;
  let again = false;
  let offered = ""; // the classes to choose from
  let shown = ""; // what the field is of
  let last = 0;
  let data = null;

  for (const { canvas } of [...Object.values(panels), heat]) {
    canvas.addEventListener("pointermove", (event) => data && read(event, canvas.getBoundingClientRect()));
  }

  // The values at the place nearest to the pointer.
  function read(event, area) {
    const { side, extent, maps, apart } = data;
    const cell = (share) => Math.max(0, Math.min(side - 1, Math.floor(share * side)));
    const [i, j] = [cell((event.clientX - area.left) / area.width), cell(1 - (event.clientY - area.top) / area.height)];
    const k = j * side + i;
    const place = [i, j].map((at) => -extent + (at * 2 * extent) / (side - 1));
    const pair = (values) => `(${values.map((value) => significant(value, 3)).join(", ")})`;
    const parts = Object.entries(maps).map(([name, map]) => `${FIELD_NAMES[name].toLowerCase()} ${pair([map[2 * k], map[2 * k + 1]])}`);
    reading.textContent = `At ${pair(place)}: ${parts.join(" · ")} · learned less exact ${significant(apart[k], 3)}`;
  }

  async function refresh() {
    if (busy) return (again = true);
    const { lab } = store.get();
    if (!lab) return null;
    busy = true;
    const v = fields.values();
    const { weight, kind, interval, low, high } = sampling();
    const asked = { ...v, classes: classOf(v.classes), weight: v.classes === "none" ? 0 : weight, kind, interval, low, high };
    const told = { ...networkOf(store.get()), ...askedOf(asked, lab) };
    try {
      const got = await store.call("lab_field", asked);
      if (store.get().lab === lab) {
        data = { ...got, maps: Object.fromEntries(Object.entries(got.maps).map(([name, values]) => [name, decodeFloats(values)])), apart: decodeFloats(got.apart), asked: v, told };
        paint();
        store.set({ field: data });
      }
    } catch (error) {
      note.textContent = error.message;
    }
    busy = false;
    last = performance.now();
    if (again) {
      again = false;
      return refresh();
    }
    return null;
  }

  function paint() {
    const { side, extent, maps } = data;
    const lengths = Object.values(maps).flatMap((map) => Array.from({ length: side * side }, (_, k) => Math.hypot(map[2 * k], map[2 * k + 1]))).sort((a, b) => a - b);
    const longest = lengths[Math.floor(lengths.length * 0.97)] || 1;
    for (const [name, panel] of Object.entries(panels)) {
      panel.draw((context, width, height, inks) => {
        arrows(context, maps[name], side, toPixels(width, height, extent * (1 + 1 / side)), extent, (width / side) * 0.95, longest, { learned: inks.burgundy, exact: inks.ink, empirical: inks.muted }[name]);
      });
    }
    const most = data.largest || 1e-9;
    heat.draw((context, width, height) => {
      const cell = width / side;
      for (let j = 0; j < side; j++) {
        for (let i = 0; i < side; i++) {
          context.fillStyle = `rgb(${colourOf(data.apart[j * side + i] / most).join(" ")})`;
          context.fillRect(i * cell, height - (j + 1) * cell, cell + 1, cell + 1);
        }
      }
    });
    const { grid: on_grid, on, paired } = data;
    const percent = (value) => (value === null ? "–" : `${significant(100 * value, 3)} %`);
    numbers.replaceChildren(
      ...[
        ["on the grid", `${percent(on_grid.learned.relative)}, cosine ${significant(on_grid.learned.cosine, 3)}`],
        ["where points are, with class", `${percent(on.class.relative)}, cosine ${significant(on.class.cosine, 3)}`],
        ["where points are, without class", `${percent(on.null.relative)}, cosine ${significant(on.null.cosine, 3)}`],
        [`of ${data.empirical_points.toLocaleString("en")} training points, on the grid`, percent(on_grid.empirical.relative)],
        ["largest on the grid", significant(data.largest, 3)],
      ].flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    );
    note.replaceChildren(
      ...withTerms(
        paired
          ? "Trained with noise paired by optimal transport, the learned field is another than the exact one of unpaired noise; both lead to the target."
          : data.asked.t < 400
            ? "{relative_error|Relative error}. At little noise most of the grid lies where no point ever comes and nothing was learned; what counts for samples is the error where points are."
            : "{relative_error|Relative error}: the length of the difference over that of the exact field, over all places together.",
      ),
    );
  }

  function rows() {
    if (!data) return [];
    const { side, extent, maps, apart } = data;
    const head = ["x", "y", ...["learned", "exact", "empirical"].flatMap((name) => [`${name}_x`, `${name}_y`]), "error"];
    return [head, ...Array.from(apart, (value, k) => [-extent + ((k % side) * 2 * extent) / (side - 1), -extent + (Math.floor(k / side) * 2 * extent) / (side - 1), ...["learned", "exact", "empirical"].flatMap((name) => [maps[name][2 * k], maps[name][2 * k + 1]]), value])];
  }

  function set(values) {
    for (const [name, value] of Object.entries(values)) if (name in fields.nodes) fields.set(name, value);
    return refresh();
  }

  function update(state) {
    const classes = JSON.stringify(state.lab?.classes);
    if (classes !== offered) {
      offered = classes;
      fields.offer("classes", classOptions(state.lab, { all: false }));
      fields.set("classes", state.lab?.classes.length > 1 ? "0" : "none");
    }
    const { weight, kind, interval, low, high } = sampling();
    const key = [state.lab?.lab, state.revision, weight, kind, interval, low, high].join();
    const training = state.status === "training" && state.step && performance.now() - last > EVERY;
    if (key !== shown || training) {
      shown = key;
      fields.set("t", fields.values().t); // says the noise of this lab's schedule
      refresh();
    }
  }

  return { node: framed.node, update, asked: fields.values, set, data: () => data, refresh };
}

function arrows(context, map, side, [px, py], extent, room, longest, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1.1;
  context.beginPath();
  for (let k = 0; k < side * side; k++) {
    const [u, v] = [map[2 * k], map[2 * k + 1]];
    const size = Math.hypot(u, v);
    if (!size) continue;
    const length = room * Math.min(1, Math.sqrt(size / longest));
    const [x, y] = [px(-extent + ((k % side) * 2 * extent) / (side - 1)), py(-extent + (Math.floor(k / side) * 2 * extent) / (side - 1))];
    const [dx, dy] = [(u / size) * length, (-v / size) * length];
    const [tipX, tipY] = [x + dx / 2, y + dy / 2];
    context.moveTo(x - dx / 2, y - dy / 2);
    context.lineTo(tipX, tipY);
    const head = Math.min(4, length / 2.5) / (length || 1);
    for (const turn of [2.6, -2.6]) {
      context.moveTo(tipX, tipY);
      context.lineTo(tipX + head * (dx * Math.cos(turn) - dy * Math.sin(turn)), tipY + head * (dx * Math.sin(turn) + dy * Math.cos(turn)));
    }
  }
  context.stroke();
}
