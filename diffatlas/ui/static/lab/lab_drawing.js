// The figure of a job of the 2D Lab, which the server draws (diffatlas/figures) of what was measured.

import { el, isDark, onTheme } from "../core/dom.js";
import { createFigure } from "../figures/figure.js";

const WIDE = 300; // px that a chart needs: its axes have titles

/**
 * Create the figure of `job` (lab_job.js): `call` is the server's function for it, `empty` what is said before there is
 * one. Put `nodes` where it belongs; `files` are buttons of lab_figure.js.
 *
 * `show(asked, version)` draws it: `asked` is what the function takes besides the job, null where nothing was measured;
 * `version` says how far the job has come. It resolves when that is on screen.
 */
export function createDrawing({ store, job, call, empty }) {
  const hint = el("p", { class: "da-absent" }, empty);
  const place = el("div", { class: "da-lab-chart" });
  const chart = createFigure(place, { wide: WIDE });
  let wanted = null; // {asked, version}
  let drawn = ""; // what is on screen
  let asking = false;

  async function show(asked, version = "") {
    wanted = asked && { asked, version };
    hint.hidden = Boolean(asked);
    place.hidden = !asked;
    if (asked) await draw();
    else drawn = "";
  }

  // One at a time: while one is on its way more is measured, or something else is chosen.
  async function draw() {
    if (asking || !wanted) return;
    const asked = { job: job.last(), ...wanted.asked, dark: isDark() };
    const key = JSON.stringify([asked, wanted.version]);
    if (key === drawn) return;
    asking = true;
    try {
      await chart.draw(await store.call(call, asked));
    } catch (error) {
      job.say(error.message);
    }
    drawn = key;
    asking = false;
    await draw();
  }

  async function save(format) {
    if (!wanted) throw new Error("There is nothing to save yet.");
    await chart.save(format);
  }

  onTheme(draw);
  return { nodes: [hint, place], show, files: ["SVG", "PNG"].map((format) => [format, () => save(format.toLowerCase())]) };
}
