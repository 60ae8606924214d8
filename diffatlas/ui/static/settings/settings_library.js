// What the library takes, what it has saved, and clearing it.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createSure } from "../core/sure.js";
import { toast } from "../core/toast.js";
import { bytesText, plural } from "../runs/library_text.js";
import { createPart, rows } from "./settings_part.js";

export function createKept(server) {
  let kept = null;
  let sure = null;
  const facts = el("div", {}, el("p", { class: "da-settings-note" }, "Looking at the library…"));
  const clear = el("button", { type: "button", class: "da-button", disabled: true, onclick: press }, "Clear the library…");
  const note = el("p", { class: "da-settings-note" }, "Runs that are locked, noted or tagged, and those of a locked study, stay.");
  const { node, say } = createPart("Library", facts, clear, note);

  async function look() {
    try {
      draw(await ask(server, "settings_library", {}));
      say();
    } catch (error) {
      say(error.message);
    }
  }

  function draw(next) {
    kept = next;
    const share = kept.cap ? ` of ${bytesText(kept.cap)}` : ", without a limit";
    facts.replaceChildren(
      rows([
        ["Where", kept.folder ? el("code", {}, kept.folder) : "Your own, on this server; nobody else sees it."],
        kept.expires && ["Kept", "For a day after your last visit."],
        ["Runs", el("code", {}, String(kept.runs))],
        ["They take", el("code", {}, `${bytesText(kept.bytes)}${share}`)],
        ["Answered from it", el("code", {}, plural(kept.served, "request"))],
      ]),
    );
    clear.disabled = !kept.loose_runs;
  }

  async function press() {
    sure ??= createSure();
    const runs = plural(kept.loose_runs, "run");
    const text = `${runs} will be deleted for good, which frees ${bytesText(kept.loose_bytes)}. Runs that are locked, noted or tagged, and those of a locked study, stay. Other studies lose their images.`;
    if (!(await sure.ask({ title: "Clear the library?", text, yes: `Delete ${runs}` }))) return;
    clear.disabled = true;
    try {
      const { deleted, kept: now } = await ask(server, "library_clear", {});
      draw(now);
      toast(`${plural(deleted, "run")} deleted.`);
    } catch (error) {
      say(error.message);
      clear.disabled = false;
    }
  }

  return { node, look };
}
