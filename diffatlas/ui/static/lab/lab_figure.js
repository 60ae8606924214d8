// A figure of the 2D Lab: a title, what is drawn, a line beneath it, and its files.

import { el } from "../core/dom.js";
import { download } from "../form/exports.js";
import { withTerms } from "../core/tips.js";
import { withAsked } from "./lab_asked.js";

/**
 * Frame `body` as a figure. `png()` returns the canvases to be saved side by side, `csv()` rows of values with the
 * heading first, and `asked()` what stands beside them in every row, by column. `more` are further buttons
 * [label, run]. Each may be left out. Returns its `node`, and `csv(rows, of)`, which saves rows under another name.
 */
export function figure({ title = "", about = "", name, body, png = null, csv = null, asked = () => ({}), more = [] }) {
  const problem = el("p", { class: "da-problem", role: "alert", hidden: "" });
  const button = (label, run) => el("button", { type: "button", class: "da-plain da-lab-save", "aria-label": `${label} of ${title || name}`, onclick: () => tried(run) }, label);
  const buttons = [
    png && button("PNG", () => savePng(png(), `lab-${name}.png`)),
    csv && button("CSV", async () => saveCsv(await csv(), asked(), `lab-${name}.csv`)),
    ...more.map(([label, run]) => button(label, run)),
  ];
  const caption = about ? el("p", { class: "da-caption" }, ...withTerms(about)) : null;

  async function tried(run) {
    problem.hidden = true;
    try {
      await run();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }

  const head = el("div", { class: "da-lab-figure-head" }, title ? el("h3", {}, title) : null, el("span", { class: "da-lab-saves" }, ...buttons));
  const node = el("figure", { class: "da-lab-figure" }, title || buttons.some(Boolean) ? head : null, body, problem, caption);
  return { node, csv: (rows, of) => saveCsv(rows, asked(), `lab-${of}.csv`) };
}

function savePng(canvases, name) {
  const all = canvases.filter((canvas) => canvas.width);
  if (!all.length) throw new Error("There is nothing to save yet.");
  const gap = 16;
  const out = el("canvas", { width: all.reduce((sum, { width }) => sum + width + gap, -gap), height: Math.max(...all.map(({ height }) => height)) });
  const context = out.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).getPropertyValue("--da-sheet");
  context.fillRect(0, 0, out.width, out.height);
  let left = 0;
  for (const canvas of all) {
    context.drawImage(canvas, left, 0);
    left += canvas.width + gap;
  }
  return new Promise((resolve, reject) => {
    out.toBlob((blob) => (blob ? resolve(saveBlob(blob, name)) : reject(new Error("The browser could not make the picture."))));
  });
}

function saveCsv(rows, asked, name) {
  if (rows.length < 2) throw new Error("There is nothing to save yet.");
  const cell = (value) => (value === null || value === undefined ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  saveBlob(new Blob([withAsked(rows, asked).map((row) => row.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" }), name);
}

function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  download(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
