// What stands beside the numbers of every table of the 2D Lab: the network, what was asked of it, and the units.

const PLANE = "units of the plane";
const DENSITY = "per square unit of the plane";

// The unit of each number by the name of its column; a target has a variance of 1 in each direction of the plane.
const UNITS = {
  ...Object.fromEntries(["x", "y", "w2", "distance", "median_distance_learned", "median_distance_fresh", "total", "integration_learned", "integration_exact", "model"].map((name) => [name, PLANE])),
  network: DENSITY,
  target: DENSITY,
  ...Object.fromEntries(["learned", "exact", "empirical"].flatMap((name) => [`${name}_x`, `${name}_y`]).map((name) => [name, "those of asked_quantity"])),
  error: "those of asked_quantity",
  excess_nll: "nats",
};

/** What a table of the network in view is of, by column: its target, what it was trained with, and how long. */
export function networkOf({ lab, step }) {
  if (!lab) return {};
  const recipe = Object.fromEntries(Object.entries(lab.recipe).map(([name, value]) => [`training_${name}`, value]));
  return { lab_target: lab.title, trained_steps: step, ...recipe };
}

/** What was asked of the sampler, or of a longer question, by column. A class is told by its name. */
export function askedOf(asked, lab) {
  if (!asked) return {};
  const told = { ...asked };
  if (typeof told.classes === "number") told.classes = lab?.classes[told.classes] ?? told.classes;
  return Object.fromEntries(Object.entries(told).map(([name, value]) => [`asked_${name}`, Array.isArray(value) ? value.join(" ") : value]));
}

/** Rows of a table, the heading first, with what was asked and the units in columns of their own behind the others. */
export function withAsked([head, ...rows], asked) {
  const names = Object.keys(asked);
  const values = names.map((name) => asked[name]);
  const numbers = head.filter((_, at) => rows.some((row) => typeof row[at] === "number"));
  const units = [...numbers, ...names.filter((name) => typeof asked[name] === "number")].map((name) => `${name}=${UNITS[name] ?? "none"}`).join("; ");
  return [[...head, ...names, "units"], ...rows.map((row) => [...row, ...values, units])];
}
