// What a cell waits for, counted down by the clock of this page: the server tells of a wait once.

const MOST = 1000; // waits that are remembered
const ends = new Map(); // a wait -> when it ends, by performance.now()

/** What a wait {message, seconds, at} says now; "" for none, and once its seconds are over. */
export function waitText(wait) {
  if (!wait) return "";
  if (wait.seconds === null) return wait.message;
  const left = Math.ceil((endOf(wait) - performance.now()) / 1000);
  return left > 0 ? `${wait.message.replace(/\.$/, "")}: ${left} s` : "";
}

function endOf({ seconds, at }) {
  const id = `${at} ${seconds}`;
  if (!ends.has(id)) {
    if (ends.size >= MOST) ends.delete(ends.keys().next().value);
    ends.set(id, performance.now() + 1000 * seconds);
  }
  return ends.get(id);
}
