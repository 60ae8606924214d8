// Packs from files and to files.

import { ask } from "../core/ask.js";
import { filesOfInput, takeDrops } from "../core/chosen_files.js";
import { el } from "../core/dom.js";
import { upload } from "../core/upload.js";
import { download } from "../form/exports.js";

const ENDINGS = ".yaml,.yml,.json,.jsonl,.csv,.txt";
const KINDS = [["yaml", "YAML"], ["json", "JSON"], ["jsonl", "GenEval’s metadata"]];

/** Create what imports, dropped on `root` too. `onTaken(answer)` is told of each file, `onProblem(sentence)` of a refusal. */
export function createPackImport(root, { server, onTaken, onProblem }) {
  const input = el("input", { type: "file", accept: ENDINGS, multiple: "", hidden: "" });
  const button = el("button", { type: "button", class: "da-button", title: "YAML or JSON; GenEval, GenEval 2 or TIIF-Bench (.jsonl), OneIG-Bench or DPG-Bench (.csv), T2I-CompBench++ (.txt). A file can be dropped here too", onclick: () => input.click() }, "Import…");
  const node = el("span", {}, button, input);
  input.addEventListener("change", () => {
    const files = filesOfInput(input);
    // So that the same can be chosen again.
    input.value = "";
    take(files);
  });
  takeDrops(root, take);

  async function take(files) {
    button.disabled = true;
    try {
      for (const { file } of await files) {
        const sent = await upload(file, file.name);
        onTaken(await ask(server, "pack_import", { upload: sent }));
      }
    } catch (error) {
      onProblem(error.message);
    }
    button.disabled = false;
  }

  return { node };
}

/** Create the choice of files that a text is written as; `text()` is what is in sight. */
export function createPackExport({ server, text, onProblem }) {
  const choice = el("select", { class: "da-select da-pack-export", "aria-label": "Export", onchange: () => write() }, el("option", { value: "" }, "Export as…"), ...KINDS.map(([kind, label]) => el("option", { value: kind }, label)));

  async function write() {
    const kind = choice.value;
    choice.value = "";
    if (!kind) return;
    try {
      const { url, name } = await ask(server, "pack_export", { text: text(), kind });
      download(url, name);
    } catch (error) {
      onProblem(error.message);
    }
  }

  return { node: choice };
}
