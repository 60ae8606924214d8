// Runs as a Hugging Face dataset: written as a folder, or pushed to the Hub.

import { ask } from "../core/ask.js";
import { createDialog } from "../core/dialog.js";
import { el } from "../core/dom.js";
import { followJob } from "../core/jobs.js";
import { createTask } from "./library_task.js";
import { plural } from "../runs/library_text.js";

const LICENCES = [
  ["cc-by-4.0", "CC BY 4.0: free with attribution"],
  ["cc0-1.0", "CC0: no rights reserved"],
  ["cc-by-sa-4.0", "CC BY-SA 4.0: shared alike"],
  ["cc-by-nc-4.0", "CC BY-NC 4.0: not for commerce"],
  ["mit", "MIT"],
  ["apache-2.0", "Apache 2.0"],
  ["other", "Another licence"],
];
const TYPED = "The token is sent once, used for this upload, and kept nowhere. It needs the right to write.";
// Studies that are called by their titles.
const NAMED = 3;
const REPO = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** Create the dialog. */
export function createDataset({ server }) {
  const view = createDialog("da-dataset");
  const whose = el("p", { class: "da-caption" });
  const title = input("text", { maxlength: 120, placeholder: "Runs of Diffusion Atlas", class: "da-input da-dataset-title" });
  const licence = el("select", { class: "da-select da-dataset-licence" }, ...LICENCES.map(([value, label]) => el("option", { value }, label)));
  const per = ["run", "step"].map((value) => el("input", { type: "radio", name: "da-dataset-per", value, ...(value === "run" ? { checked: "" } : {}) }));
  const attention = createChoice("da-dataset-attention", () => describe());
  const studies = createChoice("da-dataset-studies");
  const size = el("p", { class: "da-caption da-dataset-size", role: "status" });
  const make = createTask("Write the dataset", "da-dataset-make", writeFolder);
  const repo = input("text", { placeholder: "user/name", class: "da-input da-dataset-repo", maxlength: 96 });
  const closed = el("input", { type: "checkbox", class: "da-check", checked: "" });
  // Not a password of this site: a browser is not to keep it.
  const token = input("password", { class: "da-input da-dataset-token", autocomplete: "new-password", placeholder: "hf_…" });
  const typed = labelled("Token", token);
  const how = el("p", { class: "da-caption da-dataset-how" });
  const push = createTask("Push to the Hub", "da-dataset-push", pushIt);

  const publish = el(
    "div",
    { class: "da-dataset-publish" },
    whose,
    part(
      "The dataset",
      "A folder with a dataset card and Parquet files, which datasets.load_dataset reads.",
      labelled("Title", title),
      el("fieldset", { class: "da-choices" }, el("legend", {}, "A row for each"), ...per.map((radio) => el("label", {}, radio, radio.value))),
      labelled("Licence", licence),
      attention.root,
      studies.root,
      size,
      make.root,
    ),
    part(
      "To the Hub",
      "",
      how,
      labelled("Repository", repo),
      typed,
      el("label", { class: "da-field da-private" }, closed, el("span", {}, "Private: only you see it")),
      push.root,
    ),
  );
  view.body.append(publish);
  for (const [field, task] of [[title, make], [repo, push], [token, push]]) {
    field.addEventListener("keydown", (event) => event.key === "Enter" && task.start());
  }

  let ids = [];
  let about = null; // what the dataset would take, once that is known
  const asked = () => ({
    ids,
    per: per.find((radio) => radio.checked).value,
    licence: licence.value,
    title: title.value.trim(),
    attention: attention.box.checked,
    studies: studies.box.checked,
  });

  function describe() {
    if (!about) return;
    size.textContent = about.attended && !attention.box.checked ? about.without_attention : about.with_attention;
  }

  function showToken(told) {
    typed.hidden = Boolean(told?.signed_in);
    how.textContent = told?.signed_in ? `Signed in as ${told.signed_in}: your sign-in is used for this upload.` : TYPED + (told?.sign_in ? " Or sign in with Hugging Face at the foot of this page." : "");
  }

  async function lookAt(chosen) {
    about = null;
    showToken(null);
    attention.show("");
    studies.show("");
    size.textContent = "";
    const told = await ask(server, "dataset_about", { ids: chosen });
    if (chosen !== ids) return;
    about = told;
    attention.show(told.attended ? "With attention" : "");
    studies.show(withStudies(told.studies));
    showToken(told);
    describe();
  }

  async function writeFolder(tell) {
    const { job } = await ask(server, "dataset", asked());
    tell({ stop: () => ask(server, "job_stop", { job }) });
    return (await followJob(server, job, tell)).result;
  }

  async function pushIt(tell) {
    const secret = token.value.trim();
    token.value = "";
    const name = repo.value.trim();
    if (!REPO.test(name)) throw new Error("Give the repository as user/name, of letters, digits, dots, hyphens and underscores.");
    const { job } = await ask(server, "push", { ...asked(), repo: name, private: closed.checked, token: secret });
    tell({ stop: () => ask(server, "job_stop", { job }) });
    return (await followJob(server, job, tell)).result;
  }

  /** Publish runs; with `toHub`, beginning there. */
  function open(runIds, { toHub = false } = {}) {
    ids = runIds;
    view.title.textContent = `${plural(ids.length, "run")} as a dataset`;
    whose.textContent = "Prompts, names, notes and tags go with the runs. So do latents and pictures, those that a run was given among them.";
    for (const task of [make, push]) task.rest();
    lookAt(ids).catch((error) => (size.textContent = error.message));
    view.open();
    (toHub ? repo : title).focus();
  }

  view.dialog.addEventListener("close", () => (token.value = ""));
  return { open };
}

// The studies of the chosen runs in words; none without any.
function withStudies(titles) {
  if (!titles.length) return "";
  const named = titles.slice(0, NAMED).map((title) => `“${title}”`);
  const more = titles.length > NAMED ? ` and ${titles.length - NAMED} more` : "";
  return `With the ${titles.length > 1 ? "studies" : "study"} ${named.join(", ")}${more}`;
}

// Something that goes along unless it is unchecked; without words it is not there.
function createChoice(className, onChange) {
  const box = el("input", { type: "checkbox", class: `da-check ${className}`, checked: "" });
  const words = el("span", {});
  const root = el("label", { class: "da-field da-private", hidden: "" }, box, words);
  if (onChange) box.addEventListener("change", onChange);
  const show = (text) => {
    words.textContent = text;
    root.hidden = !text;
    box.checked = true;
  };
  return { root, box, show };
}

const input = (type, attributes) => el("input", { type, spellcheck: "false", autocomplete: "off", ...attributes });
const labelled = (text, control) => el("label", { class: "da-field" }, el("span", {}, text), control);
const part = (title, about, ...children) => el("section", { class: "da-details-part" }, el("h3", {}, title), ...(about ? [el("p", { class: "da-caption" }, about)] : []), ...children);
