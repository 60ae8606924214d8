// The film of a word: its map over the preview of every captured step.

import { createAttentionPicture } from "./attention_picture.js";
import { limits } from "./attention_store.js";
import { el } from "../core/dom.js";

const SIDE = 96;

/** Create the film. `onGo(position)` is called for a frame. */
export function createAttentionFilm({ onGo }) {
  const node = el("div", { class: "da-attention-film", role: "group", "aria-label": "The word’s map at every step", tabindex: -1 });
  let frames = [];
  let drawn = "";
  let chosen = null;

  function build(count) {
    frames = Array.from({ length: count }, (_, at) => {
      const picture = createAttentionPicture({ side: SIDE });
      const number = el("span", {});
      const button = el("button", { type: "button", class: "da-attention-frame", onclick: () => onGo(at) }, picture.node, number);
      picture.node.setAttribute("aria-hidden", "true");
      return { button, picture, number };
    });
    node.replaceChildren(...frames.map(({ button }) => button));
    chosen = null;
  }

  function update(state) {
    const { data, maps, at, share, scale, selected } = state;
    node.hidden = !data;
    if (!data) return;
    if (frames.length !== data.steps.length) {
      build(data.steps.length);
      drawn = "";
    }
    const key = [state.id, selected, state.layers, state.head, state.half, share, scale, Boolean(maps)].join("|");
    if (key !== drawn) {
      drawn = key;
      data.steps.forEach((step, k) => {
        const { button, picture, number } = frames[k];
        const map = maps && { map: maps.maps[k], rows: maps.rows, columns: maps.columns, ...limits(maps, k, scale) };
        picture.draw({ picture: step.preview ?? data.image, share, ...(map ?? gridOf(data)) });
        number.textContent = String(step.index + 1);
        button.setAttribute("aria-label", `Step ${step.index + 1}`);
        button.classList.toggle("da-spike", data.spikes.includes(step.index));
        button.title = data.spikes.includes(step.index) ? "A spike: attention moved more here than at most steps" : "";
      });
    }
    if (chosen !== at) {
      frames[chosen]?.button.removeAttribute("aria-current");
      frames[at]?.button.setAttribute("aria-current", "step");
      chosen = at;
      reveal(frames[at]?.button);
    }
  }

  // Within the strip alone: the page must not jump.
  function reveal(button) {
    if (!button) return;
    const { offsetLeft: left, offsetWidth: width } = button;
    if (left < node.scrollLeft || left + width > node.scrollLeft + node.clientWidth) {
      node.scrollLeft = left - (node.clientWidth - width) / 2;
    }
  }

  return { node, update };
}

/** Rows and columns for a picture without a map: those of the image. */
export function gridOf(data) {
  return { rows: data.run.height ?? 1, columns: data.run.width ?? 1 };
}
