// On a narrow page the view and the form lie above and below each other.

import { reducedMotion } from "./dom.js";
import { BUSY } from "./state.js";

const NARROW = "(max-width: 900px)"; // as in page.css
const SEEN = 0.6; // of the window's height, above which the view has to begin
const LOOK = 700; // ms from one look to the next while results come, which change places with the form and push it down
const AFTER = 3; // looks once it has ended: its results may be laid out late
const HANDS = ["wheel", "touchstart", "pointerdown", "keydown"];

let before = null; // ends the looks for what was begun before

/** Go to the view in `root` where what was begun from the form would not be seen there, until it has ended. */
export function comeIntoView(root) {
  before?.abort();
  const taken = (before = new AbortController());
  let left = AFTER;
  go(root);
  const timer = setInterval(() => {
    if (!BUSY.includes(root.dataset.status)) left -= 1;
    go(root);
    if (!left) taken.abort();
  }, LOOK);
  taken.signal.addEventListener("abort", () => clearInterval(timer));
  // Whoever takes the page in hand meanwhile is left alone.
  for (const kind of HANDS) addEventListener(kind, () => taken.abort(), { signal: taken.signal, passive: true, capture: true });
}

function go(root) {
  const { top } = root.getBoundingClientRect();
  const below = top > window.innerHeight * SEEN;
  const above = top < 0 && window.matchMedia(NARROW).matches;
  if (below || above) root.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "start" });
}
