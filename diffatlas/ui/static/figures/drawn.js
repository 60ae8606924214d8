// A figure that the server defines, asked for when it is needed: what is asked decides what is on screen.

import { ask } from "../core/ask.js";
import { el, isDark, onTheme } from "../core/dom.js";
import { createFigure } from "./figure.js";
import { createFiles } from "./figure_files.js";
import { plotly } from "./plotly_script.js";

const WIDE = 300; // px that a chart needs: its axes have titles
const NEAR = 20; // px: a width that differs by less is the same

/**
 * Create a figure in `root` that `call` of the server draws, with at most `most` charts in a row. `options` are those of
 * `createFigure`; `fitted`: whether the call takes the `width` that there is.
 *
 * `show(asked)` draws it: `asked` is what the call takes besides `dark` and `across`, and null for no figure. What has
 * come stays until another has, unless `asked.id` is another. `choose`, `find`, `data` and `layout` are those of the figure; `files`
 * are the buttons that keep it. `onDrawn()` is called when another figure is on screen.
 */
export function createDrawn(root, { server, call, most = 3, wide = WIDE, fitted = false, onDrawn = () => {}, ...options }) {
  const message = el("p", { class: "da-figure-message", role: "status" });
  const place = el("div", {});
  root.append(message, place);
  const chart = createFigure(place, { wide, ...options });
  const files = createFiles({ save: chart.save, say });
  let wanted = null; // what it is to be of
  let key = ""; // of what is wanted
  let drawn = ""; // key of what is on screen
  let had = null; // id of what is on screen
  let refused = ""; // key of what could not be had
  let asking = false;

  function show(asked) {
    wanted = asked;
    if (!wanted) {
      key = drawn = "";
      place.hidden = files.hidden = true;
      return say("");
    }
    if (!root.clientWidth) return; // hidden: drawn when it is shown
    const across = Math.max(1, Math.min(most, Math.floor(root.clientWidth / wide)));
    const room = fitted ? { width: Math.max(120, NEAR * Math.floor(root.clientWidth / NEAR)) } : {};
    key = JSON.stringify({ ...asked, ...room, dark: isDark(), across });
    if (key !== drawn && key !== refused) draw();
  }

  async function draw() {
    if (asking) return; // what is wanted then is drawn afterwards
    asking = true;
    const own = key;
    if (had !== wanted.id) place.hidden = files.hidden = true;
    if (place.hidden) say("Drawing…");
    plotly().catch(() => {}); // both at once; what is wrong with it is said where it is used
    try {
      const figure = await ask(server, call, JSON.parse(own));
      if (key === own) {
        place.hidden = files.hidden = false;
        await chart.draw(figure);
        drawn = own;
        had = JSON.parse(own).id;
        say("");
        onDrawn();
      }
    } catch (error) {
      if (key === own) {
        refused = own;
        place.hidden = files.hidden = true; // what is there is of something else
        drawn = "";
        say(error.message);
        message.append(" ", el("button", { type: "button", class: "da-plain", onclick: retry }, "Try again"));
      }
    }
    asking = false;
    if (key && key !== own && key !== refused) draw();
  }

  function retry() {
    refused = "";
    again();
  }

  function say(words) {
    if (message.textContent !== words) message.textContent = words;
    message.hidden = !words;
  }

  const again = () => wanted && show(wanted);
  new ResizeObserver(again).observe(root);
  onTheme(again);
  return { show, choose: chart.choose, find: chart.find, data: chart.data, layout: chart.layout, files };
}
