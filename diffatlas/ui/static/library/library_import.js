// Runs from elsewhere: an address on the web, a dataset, a zip, or a folder that is chosen or dropped here.

import { ask } from "../core/ask.js";
import { filesOfInput, takeDrops } from "../core/chosen_files.js";
import { createDialog } from "../core/dialog.js";
import { el } from "../core/dom.js";
import { followJob } from "../core/jobs.js";
import { upload } from "../core/upload.js";
import { zipOf } from "../core/zip.js";
import { bytesText } from "../runs/library_text.js";
import { createTask } from "./library_task.js";

/** Create the dialog. `onImported()` is called when runs have come in. */
export function createImport({ server, onImported }) {
  const view = createDialog("da-dataset da-import-dialog");
  const source = el("input", { type: "text", spellcheck: "false", autocomplete: "off", class: "da-input da-import-source", maxlength: 2000 });
  const take = createTask("Import", "da-import-take", importNamed);
  const oneZip = el("input", { type: "file", accept: ".zip,application/zip", hidden: "" });
  const folder = el("input", { type: "file", webkitdirectory: "", hidden: "" });
  const chooseFolder = el("button", { type: "button", class: "da-button da-import-folder", onclick: () => folder.click() }, "Choose a folder…");
  const given = createTask("Choose a zip…", "da-import-zip", importFiles, { press: () => oneZip.click(), beside: [chooseFolder] });
  const drop = el(
    "section",
    { class: "da-details-part da-import-drop" },
    el("h3", {}, "From this device"),
    el("p", { class: "da-caption" }, "A static run folder, runs or a dataset that were exported: choose the folder or its zip, or drop either here."),
    given.root,
    oneZip,
    folder,
  );
  const shelf = el("div", { class: "da-dataset-shelf" });
  const recorded = createTask("Two runs with attention", "da-import-recorded", async () => {
    const { ids } = await ask(server, "example", {});
    onImported({ ids });
    return { ids };
  });
  const kept = el("section", { class: "da-details-part" }, el("h3", {}, "Recorded runs"), el("p", { class: "da-caption" }, "They come with Diffusion Atlas: one draws both objects as asked, in the other their colours change places."), recorded.root, shelf);
  view.title.textContent = "Import runs";
  view.body.append(
    el(
      "section",
      { class: "da-details-part" },
      el("h3", {}, "From an address"),
      el("p", { class: "da-caption" }, "They come in as they were written. Nothing of it is executed."),
      el("label", { class: "da-field" }, el("span", {}, "From"), source),
      take.root,
    ),
    drop,
    kept,
  );
  source.addEventListener("keydown", (event) => event.key === "Enter" && take.start());
  for (const field of [oneZip, folder]) {
    field.addEventListener("change", () => {
      const files = filesOfInput(field);
      // So that the same can be chosen again.
      field.value = "";
      given.start(files);
    });
  }
  takeDrops(drop, given.start);

  let most = null; // bytes that the server takes

  async function importNamed(tell) {
    const from = source.value.trim();
    if (!from) throw new Error("Say where from: an https:// address, or user/name on the Hub.");
    return follow(tell, { source: from });
  }

  // The files, or a promise of them.
  async function importFiles(tell, some) {
    const files = await some;
    if (!files.length) throw new Error("There is no file in it: choose a run’s folder, or a zip.");
    const alone = files.length === 1 && /\.zip$/i.test(files[0].path);
    const size = files.reduce((sum, { file }) => sum + file.size, 0);
    if (most !== null && size > most) throw new Error(`These files take ${bytesText(size)}; at most ${bytesText(most)} can be sent here.`);
    const name = alone ? files[0].path : `${files[0].path.split("/")[0]}.zip`;
    tell({ message: "Sending…" });
    const sent = await upload(alone ? files[0].file : await zipOf(files), name);
    return follow(tell, { source: name, upload: sent });
  }

  async function follow(tell, asked) {
    const { job } = await ask(server, "import", asked);
    tell({ stop: () => ask(server, "job_stop", { job }) });
    const { result } = await followJob(server, job, tell);
    onImported(result);
    return result;
  }

  // What comes with the project, {name, title}, as a button that takes it in.
  function offered({ name, title }) {
    const choose = () => {
      source.value = name;
      take.start();
    };
    return el("button", { type: "button", class: "da-plain", "data-name": name, onclick: choose }, title);
  }

  /** Open it. `shared`: files of the server are out of reach; `shipped`: what it has; `mostUpload`: bytes it takes. */
  function open({ shared = false, shipped = [], mostUpload = null } = {}) {
    most = mostUpload;
    shelf.replaceChildren(...shipped.map(offered));
    source.placeholder = shared ? "https://… or user/name on the Hub" : "https://…, user/name on the Hub, or a folder or zip";
    for (const task of [take, given, recorded]) task.rest();
    view.open();
    source.focus();
  }

  /** Open it and take in files, a promise of [{path, file}]; the options are those of `open`. */
  function receive(files, options) {
    open(options);
    given.start(files);
  }

  return { open, receive };
}
