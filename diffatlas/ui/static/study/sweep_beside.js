// The sweeps that are drawn beside the one in view: which of them share its axis, and where their values lie on it.

/**
 * Which of the visible layers can be drawn beside the study in view, {drawn}, and in `words` what is to be known of
 * them. `kept` is the state of the layers (study_layers.js).
 */
export function beside({ study, kept, measures, row }) {
  const field = measures.field;
  const drawn = kept.others.filter((other) => other.field === field);
  const apart = kept.others.filter((other) => other.field !== field);
  const words = [];
  if (drawn.length) words.push("Each sweep is held against its own baseline. Bands and marks are those of the one in view.");
  if (drawn.length && row !== null && study.rows.length > 1) words.push("The lines of the others are means over their seeds.");
  if (drawn.some(({ feature }) => feature !== measures.feature)) words.push("Features that another encoder made are left out.");
  for (const { name, field: other } of apart) words.push(`“${name}” is not drawn here: it sweeps ${nameOf(other)}, and this one ${nameOf(field)}.`);
  if (kept.missing) words.push(`Measuring ${kept.missing === 1 ? "another sweep" : `${kept.missing} other sweeps`}…`);
  return { drawn, words: words.join(" ") };
}

const nameOf = (field) => field.replace("num_inference_", "").replaceAll("_", " ");

/** The values of the axis: {value, label, column}, where `column` is null for a value that only the others have. */
export function axisOf(study, others) {
  const axis = study.columns.map(({ value, label, column }) => ({ value, label, column }));
  const known = new Set(axis.map(keyOf));
  for (const { value, label } of others.flatMap(({ columns }) => columns)) {
    if (known.has(keyOf({ value }))) continue;
    known.add(keyOf({ value }));
    axis.push({ value, label, column: null });
  }
  return axis;
}

/** A curve of a lane of another study, a number or null for each value of the axis. */
export function curveOn(axis, other, lane, metric, measures) {
  const name = metric.distance ?? metric.name;
  const comparable = name !== "feature" || other.feature === measures.feature;
  const values = comparable ? lane.curves[name] : null;
  return axis.map((place) => values?.[other.columns.findIndex((column) => keyOf(column) === keyOf(place))] ?? null);
}

const keyOf = ({ value }) => JSON.stringify(value ?? null);
