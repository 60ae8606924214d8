// Reading a run's data: the same for the live run and for stored ones (see run_view.py for the fields).

export const BUSY = ["waiting", "loading", "running"];
export const SPACES = ["pca", "umap"];

/** Values of one metric, one per step; null where it was not measured or is not known yet. */
export function series(data, name) {
  const at = data.metrics.findIndex((metric) => metric.name === name);
  if (at >= 0 && data.steps.every((step) => step.metrics.length <= at)) return data.final?.[name] ?? data.steps.map(() => null);
  if (at >= 0) return data.steps.map((step) => step.metrics[at] ?? null);
  return data.final?.[name] ?? data.steps.map(() => null);
}

/** float32 numbers, little-endian, from base64. */
export function decodeFloats(base64) {
  return new Float32Array(decodeBytes(base64).buffer);
}

/** The same, or numbers that are some already. */
export function floatsOf(values) {
  return typeof values === "string" ? decodeFloats(values) : values;
}

/** Bytes from base64. */
export function decodeBytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** One sentence on where a run stands; `seconds` is how long it has been asked for. */
export function sentence(data, seconds = 0) {
  const elapsed = seconds >= 1 ? ` ${Math.floor(seconds)} s` : "";
  const total = data.run?.total_steps;
  const hosted = data.run?.hosted;
  const going = data.until ? ` ${Math.ceil(data.until)} s` : elapsed;
  const done = data.steps.length;
  switch (data.status) {
    case "waiting":
      return `Waiting for a turn: ${data.ahead} ahead${data.wait ? `, ${data.wait}` : `…${elapsed}`}`;
    case "loading":
      return `${data.message}${going}`;
    case "running":
      if (hosted) return `${data.message || `${hosted.provider} makes the image.`}${going}`;
      // A connection that broke, or the turns of others where it runs.
      if (data.message) return `${data.message}${data.until ? going : ""}`;
      return done ? `Step ${done} of ${total}` : "The first step…";
    case "complete":
      if (hosted) return `Complete: one image from ${hosted.provider}${data.cached ? ", out of the library" : ""}`;
      return `Complete: ${done} ${done === 1 ? "step" : "steps"}${data.cached ? ", out of the library" : ""}`;
    case "stopped":
      if (hosted) return "Stopped before the image came";
      return data.run ? `Stopped after ${done} of ${total} steps` : "Stopped before the first step";
    case "partial":
      if (hosted) return "Cut off before the image came";
      return `Cut off after ${done} of ${total} steps`;
    case "failed":
      return data.error?.message ?? "This run failed";
    default:
      return "Nothing has run yet";
  }
}
