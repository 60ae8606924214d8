// The Stop of a form, which can be pressed while there is something to stop.

import { whenThere } from "../core/dom.js";

const wanted = new Map(); // id of a button -> whether there is something to stop

/** Let the button of this id be pressed, or not: now, or once it is there. */
export function letStop(id, busy) {
  wanted.set(id, busy);
  whenThere(`#${id}`, (button) => (button.disabled = !wanted.get(id)));
}
