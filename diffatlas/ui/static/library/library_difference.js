// Two runs of the Library side by side: what differs in settings, images, paths and machine.

import { ask } from "../core/ask.js";
import { createDialog } from "../core/dialog.js";
import { el, isDark } from "../core/dom.js";
import { seedWords, short } from "../core/format.js";
import { departure, differing, machineTold } from "./library_table.js";
import { stepsText, titleOf, whenText } from "../runs/library_text.js";

/** Create the dialog. `onOpen(ids)` opens both on the Trajectory page. */
export function createDifference({ server, onOpen, modelName }) {
  const view = createDialog("da-difference");
  const both = el("button", { type: "button", class: "da-button" }, "Open both in Trajectory");
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const heads = el("div", { class: "da-difference-heads" });
  const found = el("div", { class: "da-difference-found" });
  view.title.textContent = "Two runs compared";
  view.acts.append(both);
  view.body.append(problem, heads, found);
  let asked = 0;
  let ids = [];
  both.addEventListener("click", async () => {
    try {
      await onOpen(ids);
    } catch (error) {
      say(error.message);
    }
  });

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  async function open(a, b) {
    const mine = ++asked;
    ids = [a.id, b.id];
    say("");
    heads.replaceChildren(head("A", a, modelName), head("B", b, modelName));
    found.replaceChildren(el("p", { class: "da-caption", role: "status" }, "Comparing…"));
    view.open();
    try {
      const answer = await ask(server, "difference", { a: a.id, b: b.id, dark: isDark() });
      if (mine === asked) found.replaceChildren(...told(answer));
    } catch (error) {
      if (mine !== asked) return;
      found.replaceChildren();
      say(error.message);
    }
  }

  return { open };
}

function head(letter, run, modelName) {
  const facts = [seedWords(run.seed), stepsText(run), modelName(run.model), whenText(run.created)];
  return el(
    "figure",
    { class: "da-difference-head" },
    el("div", { class: "da-difference-shot" }, run.thumb ? el("img", { src: run.thumb, alt: "" }) : el("span", {}, "no picture")),
    el("figcaption", {}, el("span", { class: "da-letter" }, letter), el("span", { class: "da-difference-name", dir: "auto" }, titleOf(run)), el("span", { class: "da-run-facts" }, ...facts.filter(Boolean).map((text) => el("span", {}, text)))),
  );
}

function told({ settings, images, path, machine }) {
  const part = (title, ...children) => el("section", { class: "da-details-part" }, el("h3", {}, title), ...children.filter(Boolean));
  return [
    part("Settings", settings.length ? differing(settings, "A", "B") : el("p", {}, "The same settings.")),
    part("Images", ...imagesTold(images)),
    part("Path", ...pathTold(path)),
    part("Machine", ...machineTold(machine, "A", "B", "The same machine and versions.")),
  ];
}

function imagesTold(images) {
  if (!images.length) return [el("p", {}, "Neither run has an image.")];
  const name = (at) => (images.length > 1 ? `Image ${at + 1}` : "The images");
  const verb = images.length > 1 ? ["is", "differs"] : ["are", "differ"];
  return images.map(({ identical, mean_absolute: mean, maximum }, at) => {
    if (identical) return el("p", {}, `${name(at)} ${verb[0]} identical, pixel by pixel.`);
    if (mean === null) return el("p", {}, `${name(at)} cannot be compared: they differ in size, or one run has none.`);
    return el("p", {}, `${name(at)} ${verb[1]} by ${short(mean, 3)} of 255 levels on average, and by ${short(maximum, 3)} at most.`);
  });
}

function pathTold(path) {
  if (!path) return [el("p", {}, "Their latents have another shape, or another number of steps: the paths cannot be laid over each other.")];
  if (path.identical) return [el("p", {}, "Identical: every latent of every step, bit for bit.")];
  if (path.first_step === null) return [el("p", {}, "Identical as far as both go; one of them has more steps.")];
  const from = path.first_step === 0 ? "from the initial noise on" : `from step ${path.first_step} on; before it they are identical, bit for bit`;
  const far = Number.isFinite(path.relative) ? ` They come to lie ${short(path.relative, 3)} of their norm apart, and no number differs by more than ${short(path.maximum)}.` : "";
  return [
    el("p", {}, `They differ ${from}.${far}`),
    departure(path.figure),
  ];
}
