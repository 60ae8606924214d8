// The steps that the inspector has asked the server for: kept, and their pictures decoded before they are shown.

import { ask } from "../core/ask.js";

const KEPT = 120; // answers
const PICTURES = 40; // answers whose pictures stay decoded

/** Answers of `server.step`, by run, step and decoder. A failed one is asked for again. */
export function createSteps(server) {
  const entries = new Map(); // key: {answer: Promise, shown: Promise of {answer, images}, done: that once it is there}

  /** The answer for a step and its decoded images; rejects with an Error whose message can be shown. */
  function get(request, key) {
    const entry = entries.get(key) ?? { answer: fetched(request), shown: null, done: null };
    entries.delete(key);
    entries.set(key, entry);
    if (!entry.shown) {
      entry.shown = entry.answer.then(async (answer) => ({ answer, images: await decoded(answer.pictures) }));
      entry.shown.then(
        (done) => (entry.done = done),
        () => entries.get(key) === entry && entries.delete(key),
      );
    }
    trim();
    return entry.shown;
  }

  /** The same, at once, or null where it would have to be waited for. */
  function ready(key) {
    return entries.get(key)?.done ?? null;
  }

  async function fetched(request) {
    const answer = await ask(server, "step", request);
    if (answer.index !== request.index) throw new Error("The server answered for another step.");
    return answer;
  }

  function trim() {
    let count = entries.size;
    for (const [key, entry] of entries) {
      if (count > KEPT) entries.delete(key);
      else if (count > PICTURES) entry.shown = entry.done = null;
      else return;
      count -= 1;
    }
  }

  return { get, ready };
}

/** Image elements by picture: one for the row and one to be shown large. */
async function decoded(pictures) {
  const images = {};
  const jobs = pictures.flatMap(({ key, url, label }) => {
    images[key] = { small: new Image(), large: new Image() };
    return Object.values(images[key]).map((image) => {
      image.alt = label;
      image.decoding = "sync";
      image.draggable = false;
      image.src = url;
      // A picture that cannot be had shows its label.
      return image.decode().catch((error) => console.warn(error));
    });
  });
  await Promise.all(jobs);
  return images;
}
