// Texts of packs that were changed and are not kept yet: they stay over a reload and over a look at another pack.

import { remember, remembered } from "../core/remember.js";

const PLACE = "pack-drafts";

/**
 * Create what holds the drafts. Each has a `key`, the `name` under which its pack is kept (null for a new one) and its
 * `text`; `title` is what a new one is called before it can be read.
 */
export function createDrafts() {
  let drafts = read();
  let number = 0;

  function write() {
    remember(PLACE, JSON.stringify(drafts));
  }

  return {
    all: () => drafts,
    get: (key) => drafts.find((one) => one.key === key) ?? null,
    /** Hold a text; the draft that had its key is replaced. */
    put(draft) {
      drafts = [...drafts.filter(({ key }) => key !== draft.key), draft];
      write();
    },
    drop(key) {
      drafts = drafts.filter((one) => one.key !== key);
      write();
    },
    /** A key that no other new pack has. */
    fresh: () => `new-${Date.now().toString(36)}-${++number}`,
  };
}

function read() {
  try {
    const found = JSON.parse(remembered(PLACE, null, "[]"));
    return Array.isArray(found) ? found.filter((one) => typeof one?.key === "string" && typeof one.text === "string") : [];
  } catch {
    return [];
  }
}
