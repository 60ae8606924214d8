// Work of the server behind a button: how far it is, and what came of it.

import { el } from "../core/dom.js";
import { download } from "../form/exports.js";
import { plural } from "../runs/library_text.js";

/** A button, how far its work has come, and what came of it. `work(tell, given)` is a promise of the result of a job.
 *
 * `press` is what the button does where that is not to start at once; `beside` are further buttons. */
export function createTask(label, className, work, { press = null, beside = [] } = {}) {
  const button = el("button", { type: "button", class: `da-button ${className}`, onclick: () => (press ?? start)() }, label);
  const bar = el("progress", { class: "da-progress", max: 1, "aria-label": label, hidden: "" });
  let end = null; // stops the work, once it has begun
  const halt = el("button", { type: "button", class: "da-plain", hidden: "", onclick: () => end?.().catch((error) => console.warn("job_stop", error)) }, "Stop");
  const said = el("p", { class: "da-task-said", role: "status" });
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const root = el("div", { class: "da-task" }, el("div", { class: "da-replay-row" }, button, ...beside, bar, halt), said, problem);

  async function start(given) {
    if (button.disabled) return;
    const focused = document.activeElement === button;
    button.disabled = true;
    problem.hidden = true;
    bar.hidden = false;
    bar.removeAttribute("value");
    said.replaceChildren("Getting ready…");
    try {
      const result = await work(({ progress, message, stop }) => {
        if (stop) end = stop;
        halt.hidden = !end;
        if (Number.isFinite(progress)) bar.value = progress;
        if (message && said.textContent !== message) said.textContent = message;
      }, given);
      said.replaceChildren(...outcome(result));
    } catch (error) {
      said.replaceChildren();
      problem.textContent = error.message;
      problem.hidden = false;
    }
    bar.hidden = halt.hidden = true;
    end = null;
    button.disabled = false;
    if (focused && document.activeElement === document.body) button.focus();
  }

  function rest() {
    if (button.disabled) return;
    said.replaceChildren();
    problem.hidden = true;
  }

  return { root, start, rest };
}

// The result of a job: a file to save, an address on the Hub, a folder of this machine, or runs that came in.
function outcome(result) {
  const parts = [];
  const { url, name, address, path, ids, studies, notes } = result ?? {};
  if (url) parts.push(el("button", { type: "button", class: "da-plain", onclick: () => download(url, name ?? "dataset.zip") }, `Download ${name ?? "the dataset"}`));
  if (/^https?:\/\//.test(address ?? "")) parts.push(el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address));
  if (path) parts.push(el("span", {}, "Written to ", el("code", {}, path)));
  if (Array.isArray(ids)) parts.push(imported(ids, studies ?? []), ...(notes ?? []));
  if (!parts.length) parts.push("Done.");
  return parts.flatMap((part, at) => (at ? [el("br"), part] : [part]));
}

function imported(ids, studies) {
  if (!ids.length && !studies.length) return "All of its runs are here already.";
  const parts = [ids.length && plural(ids.length, "run"), studies.length && plural(studies.length, "study", "studies")];
  return `${parts.filter(Boolean).join(" and ")} imported.`;
}
