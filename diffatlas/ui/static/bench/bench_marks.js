// What a person says of images: kept at once, one after the other, and taken back again.

import { ask } from "../core/ask.js";
import { toast } from "../core/toast.js";
import { verdictWords } from "./bench_words.js";

const MOST = 200; // marks that can be taken back

/** Create it. `store` is that of the page; `onSaid(words)` is told what was done, and
 * `onSaving(saving)` whether some are on their way. */
export function createMarks({ server, store, onSaid, onSaving }) {
  const done = []; // [{bench, key, before}], the last last
  let last = Promise.resolve();
  let saving = 0; // marks that are on their way

  /** Mark a card: `verdict`, or null to take a mark back. */
  function mark(key, verdict, note = null) {
    const { bench } = store.state();
    const card = store.card(key);
    if (!bench || card.status !== "complete") return;
    const before = card.mark;
    if (!before && verdict === null) return;
    const next = verdict === null ? null : { verdict, note: note ?? before?.note ?? "", at: "" };
    if (before && next && before.verdict === next.verdict && before.note === next.note) return;
    done.push({ bench: bench.id, key, before });
    done.splice(0, done.length - MOST);
    keep(bench.id, key, next);
    onSaid(next ? `Marked: ${verdictWords(next.verdict).word}.` : "The mark is taken back.");
  }

  function keep(id, key, next) {
    const held = store.card(key);
    store.put(id, key, next);
    saving += 1;
    onSaving(true);
    last = last.then(async () => {
      try {
        await ask(server, "mark_card", { id, cell: key, verdict: next?.verdict ?? null, note: next?.note ?? "" });
      } catch (error) {
        store.put(id, key, held.mark);
        toast(error.message);
      }
      saving -= 1;
      if (!saving) onSaving(false);
    });
  }

  /** Take the last mark back, as it was before. */
  function undo() {
    const was = done.pop();
    if (!was) return null;
    keep(was.bench, was.key, was.before);
    onSaid(was.before ? `Marked as before: ${verdictWords(was.before.verdict).word}.` : "The mark is taken back.");
    return was.key;
  }

  return { mark, undo, can: () => done.length > 0 };
}
