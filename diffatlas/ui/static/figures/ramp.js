// One colour ramp for all maps: ink, burgundy, gold, ivory. Its lightness rises evenly, so it reads the same on
// ivory and on near-black, and without colour vision. Interpolated in OKLab (Ottosson 2020).

const look = getComputedStyle(document.documentElement);
const STOPS = [0, 1, 2, 3, 4].map((k) => look.getPropertyValue(`--da-ramp-${k}`).trim());
const SIZE = 256;

const toLinear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const fromLinear = (v) => (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);

function toLab(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => toLinear(parseInt(hex.slice(at, at + 2), 16) / 255));
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function toRgb([L, a, b]) {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((v) => Math.round(255 * fromLinear(Math.min(1, Math.max(0, v)))));
}

const TABLE = (() => {
  const labs = STOPS.map(toLab);
  // Where each stop lies follows from its lightness: that makes the ramp even.
  const place = labs.map(([L]) => (L - labs[0][0]) / (labs.at(-1)[0] - labs[0][0]));
  return Array.from({ length: SIZE }, (_, k) => {
    const at = k / (SIZE - 1);
    const to = Math.max(1, place.findIndex((p) => p >= at));
    const share = (at - place[to - 1]) / (place[to] - place[to - 1]);
    return toRgb(labs[to].map((v, i) => labs[to - 1][i] + share * (v - labs[to - 1][i])));
  });
})();

/** [r, g, b] in 0..255 for a value in 0..1; what lies outside is clipped. */
export function colourOf(value) {
  return TABLE[Math.round(Math.min(1, Math.max(0, value)) * (SIZE - 1))];
}

/** The ramp as a CSS gradient, left to right. */
export function gradient() {
  const stops = Array.from({ length: 17 }, (_, k) => `rgb(${colourOf(k / 16).join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
