// Numbers as text, the same way everywhere.

/** A number to `digits` significant digits, without exponent where it stays short. */
export function significant(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return minus(value.toExponential(Math.max(0, digits - 2)));
  // 9.9996 is rounded to a number of one digit more before the point.
  const whole = Math.floor(Math.log10(Number(size.toPrecision(digits))));
  const decimals = Math.max(0, digits - 1 - whole);
  return minus(value.toFixed(Math.min(decimals, 6)));
}

/** Like `significant`, without trailing zeros: for ticks and for what the user typed. */
export function short(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return minus(String(Number(value.toPrecision(digits))));
}

/** Ticks at round values from at or below `low` to at or above `high`, about `count` of them. */
export function niceTicks(low, high, count = 4) {
  const step = niceStep((high - low) / count);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
}

/** The round number (1, 2 or 5 times a power of ten) next above `rough`. */
export function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10) * power;
}

/** A run's seed in words: "seed 7", or "no known seed" of a call whose noise came from none that could be told. */
export function seedWords(seed) {
  return seed === null || seed === undefined ? "no known seed" : `seed ${seed}`;
}

/** Width and height in words; null where a run does not say them, as the call of a pipeline may not. */
export function sizeWords({ width, height }) {
  return width && height ? `${width} × ${height}` : null;
}

/** Text of at most `most` letters: what is too much is taken out of the middle, because what differs is at the end. */
export function shortened(text, most) {
  if (text.length <= most) return text;
  const tail = Math.floor((most - 1) / 2);
  return `${text.slice(0, most - 1 - tail).trimEnd()}…${text.slice(text.length - tail).trimStart()}`;
}

function minus(text) {
  return text.replace("-", "−");
}
