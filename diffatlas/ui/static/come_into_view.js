// On a narrow page the view and the form lie above and below each other.

import { reducedMotion } from "./dom.js";

const NARROW = "(max-width: 900px)"; // as in page.css
const SEEN = 0.6; // of the window's height, above which the view has to begin
const SETTLED = 700; // ms in which the first results may change places with the form
const HANDS = ["wheel", "touchstart", "pointerdown", "keydown"];

/** Go to the view in `root` where what was begun from the form would not be seen there. */
export function comeIntoView(root) {
  go(root);
  // Whoever takes the page in hand meanwhile is left alone.
  const taken = new AbortController();
  for (const kind of HANDS) addEventListener(kind, () => taken.abort(), { signal: taken.signal, passive: true, capture: true });
  setTimeout(() => {
    if (!taken.signal.aborted) go(root);
    taken.abort();
  }, SETTLED);
}

function go(root) {
  const { top } = root.getBoundingClientRect();
  const below = top > window.innerHeight * SEEN;
  const above = top < 0 && window.matchMedia(NARROW).matches;
  if (below || above) root.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "start" });
}
