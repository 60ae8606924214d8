// Opening another run in the page: a file or folder that is dropped on it or chosen. Nothing leaves the browser.

import { filesOfInput, takeDrops } from "../../../ui/static/core/chosen_files.js";
import { el } from "../../../ui/static/core/dom.js";
import { readData } from "./offline.js";
import { openFiles } from "./opened_files.js";
import { createOpened } from "./opened_view.js";
import { readStatic } from "./static_run.js";
import { readStored, runsIn } from "./stored_run.js";

const WANTED = "a static run folder or its zip, runs that were exported as a zip, or another page of Diffusion Atlas";
const MOST_PAGE = 40e6;
const DATA = /<script type="application\/octet-stream" id="data">([\w+/=\s]*)<\/script>/;

/** Create the line with its buttons, and take what is dropped anywhere on the page.
 *
 * `own` is the page's data; `onPage(data)` shows it or another page's, `onNode(node)` shows an element. */
export function createOpening({ own, onPage, onNode }) {
  const file = el("input", { type: "file", accept: ".zip,.html,application/zip,text/html", hidden: "" });
  const folder = el("input", { type: "file", webkitdirectory: "", hidden: "" });
  const choose = (input, text) => el("button", { type: "button", class: "da-plain", onclick: () => input.click() }, text);
  const problem = el("p", { class: "da-opening-problem", role: "alert", hidden: "" });
  const several = el("select", { class: "da-select", "aria-label": "Which run", hidden: "" });
  const back = el("button", { type: "button", class: "da-plain da-opening-back", hidden: "", onclick: () => putBack() }, "Back to what this page holds");
  const node = el(
    "aside",
    { class: "da-opening", "aria-label": "Open another run" },
    el("p", {}, "Drop a run on this page, or choose ", choose(file, "a file…"), " or ", choose(folder, "a folder…"), ". It stays in this browser. ", several, " ", back),
    problem,
    file,
    folder,
  );
  let latest = 0;

  function putBack() {
    latest += 1;
    several.hidden = back.hidden = problem.hidden = true;
    onPage(own);
  }

  for (const input of [file, folder]) {
    input.addEventListener("change", () => {
      const files = filesOfInput(input);
      input.value = "";
      open(files);
    });
  }
  takeDrops(document.body, open);

  async function open(some) {
    const mine = ++latest;
    problem.hidden = true;
    try {
      const shown = await read(await some);
      if (mine !== latest) return;
      shown();
      back.hidden = false;
    } catch (error) {
      if (mine !== latest) return;
      problem.textContent = sentence(error);
      problem.hidden = false;
    }
  }

  /** Read what was chosen: a promise of a function that shows it. */
  async function read(chosen) {
    if (!chosen.length) throw new Error(`There is no file in it: choose ${WANTED}.`);
    const [first] = chosen;
    if (chosen.length === 1 && /\.html?$/i.test(first.path)) {
      const data = await pageIn(first, own.version);
      return () => {
        onPage(data);
        several.hidden = true;
      };
    }
    const files = await openFiles(chosen);
    if (files.has("metadata.json")) return showing([], createOpened(await readStatic(files)));
    const runs = runsIn(files);
    if (runs.length) return showing(runs, createOpened(await readStored(runs[0].files)));
    throw new Error(`“${first.path.slice(0, 80)}” is not opened here: choose ${WANTED}.`);
  }

  function showing(runs, opened) {
    return () => {
      several.hidden = runs.length < 2;
      several.replaceChildren(...runs.map(({ name }, k) => el("option", { value: k }, name)));
      several.onchange = () => {
        const mine = ++latest;
        readStored(runs[Number(several.value)].files).then(
          (run) => mine === latest && onNode(createOpened(run)),
          (error) => {
            problem.textContent = sentence(error);
            problem.hidden = false;
          },
        );
      };
      onNode(opened);
    };
  }

  return node;
}

async function pageIn({ path, file }, version) {
  if (file.size > MOST_PAGE) throw new Error(`“${path}” is larger than ${MOST_PAGE / 1e6} MB, which no page of Diffusion Atlas is.`);
  const found = DATA.exec(await file.text());
  const data = found && (await readData(found[1]).catch(() => null));
  if (data?.format !== "diffusion-atlas/page" || !Array.isArray(data.runs)) throw new Error(`“${path}” is no page of Diffusion Atlas: choose ${WANTED}.`);
  if (data.version !== version) throw new Error(`“${path}” was made by another version of Diffusion Atlas: open it by itself.`);
  return data;
}

// What goes wrong in a file that is not what it says it is, the browser has words of its own for.
function sentence(error) {
  if (error.constructor === Error) return error.message;
  console.warn(error);
  return "The run cannot be read: one of its files is damaged, or is not what it should be.";
}
