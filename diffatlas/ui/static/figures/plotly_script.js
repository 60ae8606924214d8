// plotly.js, fetched when the first chart is drawn: it is larger than all of the app.

import { el } from "../core/dom.js";

let fetched = null;

/** A promise of plotly.js; it rejects with an Error to be shown, and is asked for anew after that. */
export function plotly() {
  fetched ??= new Promise((resolve, reject) => {
    const failed = () => {
      fetched = null;
      script.remove();
      reject(new Error("What draws the charts could not be fetched; try again."));
    };
    const script = el("script", { src: new URL("../plotly.min.js", import.meta.url).href, onload: () => resolve(window.Plotly), onerror: failed });
    document.head.append(script);
  });
  return fetched;
}
