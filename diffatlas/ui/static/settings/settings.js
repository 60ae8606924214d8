// The Settings page: where models run, another Atlas, keys, this machine, the library, looks, and what the installation decides.
// Each part asks the server by itself when the page comes into sight.

import { el } from "../core/dom.js";
import { currentPage, initPages } from "../core/pages.js";
import { createAtlas } from "./settings_atlas.js";
import { createKeys } from "./settings_keys.js";
import { createKept } from "./settings_library.js";
import { createLooks } from "./settings_looks.js";
import { createMachine } from "./settings_machine.js";
import { createModel } from "./settings_model.js";
import { createVariables } from "./settings_variables.js";

/** Mount the page in `element`; `server` has what `diffatlas.ui.wire.settings` has. */
export function mount(element, read, server) {
  initPages();
  const parts = [createModel, createAtlas, createKeys, createMachine, createKept, createLooks, createVariables].map((create) => create(server));
  const columns = [parts.slice(0, 3), parts.slice(3)].map((own) => el("div", {}, ...own.map(({ node }) => node)));
  element.querySelector(".da-mount").replaceChildren(el("div", { class: "da-settings" }, ...columns));
  const look = () => currentPage() === "settings" && parts.forEach(({ look: again }) => again());
  window.addEventListener("da-page", look);
  look();
}
