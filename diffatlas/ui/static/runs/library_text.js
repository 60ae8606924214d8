// A run in words, the same way on a card, in its details and in a comparison.

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];
const STATUS = {
  complete: "complete",
  stopped: "stopped",
  failed: "failed",
  running: "running",
  partial: "cut off",
  damaged: "damaged",
};
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** What a run is called: what tells it from the others in view, or its name, or else its prompt. */
export const titleOf = (run) => run.label || run.name || run.prompt || "A run without a prompt";

export const statusText = (status) => STATUS[status] ?? String(status);

/** How a run ended that is not complete, and why. Of one that cannot be read the sentence says it all. */
export const endText = ({ status, error }) => (error ? (status === "damaged" ? error : `${statusText(status)}: ${error}`) : statusText(status));

/** Whether a run has no steps to show, because a provider made its image. */
export const isWithoutSteps = ({ steps, total_steps: total }) => !steps && (total === null || total === undefined);

/** "30 steps", or how far it came. */
export function stepsText(run) {
  const { status, steps, total_steps: total } = run;
  if (isWithoutSteps(run)) return status === "complete" ? "image alone" : "no steps";
  if (status === "complete" || total === null || total === undefined) return plural(steps ?? 0, "step");
  return `${steps} of ${plural(total, "step")}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-GB").replaceAll(",", "\u202f")} ${count === 1 ? one : many}`;
}

/** Bytes in decimal units, two digits where they tell something: "1.8 GB". */
export function bytesText(bytes) {
  if (!Number.isFinite(bytes)) return "–";
  let power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3 + 1e-9)));
  if (power < UNITS.length - 1 && Math.round(bytes / 1000 ** power) === 1000) power += 1; // 999.9 kB
  const value = bytes / 1000 ** power;
  return `${value < 9.95 && power ? Number(value.toFixed(1)) : Math.round(value)} ${UNITS[power]}`;
}

/** A moment in the visitor's own time: "21 Nov 2025, 07:44". */
export function whenText(iso) {
  const date = new Date(iso ?? "");
  return Number.isNaN(date.getTime()) ? "" : `${DAY.format(date)}, ${TIME.format(date)}`;
}

/** A number or text as one line. */
export const valueText = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));
