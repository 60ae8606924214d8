// The views as tabs, and beside them what the views in space can be told.

import { el } from "./dom.js";
import { SPACES } from "./state.js";
import { withTerms } from "./tips.js";

const VIEWS = [
  ["film", "Film"],
  ["pca", "PCA"],
  ["umap", "UMAP"],
  ["curves", "Curves"],
];
const MOST = 20;

/** Create the tabs; `panels` maps a view to the id of its panel.
 *
 * `views` are [view, label]; `caption(state)` says a line about one, or null where it is a view of the runs' paths;
 * `prefix` begins the ids of the tabs.
 */
export function createTabs({ panels, onView, onEvery, onFit, onHome, views = VIEWS, caption: own = () => null, prefix = "da" }) {
  const tabs = views.map(([view, label]) =>
    el("button", { type: "button", role: "tab", class: "da-tab", "data-view": view, id: `${prefix}-tab-${view}`, "aria-controls": panels[view], onclick: () => onView(view) }, label),
  );
  const list = el("div", { class: "da-tabs", role: "tablist", "aria-label": "Views of the runs" }, ...tabs);
  const count = el("output", { class: "da-every" });
  const slider = el("input", { type: "range", min: 0, max: MOST, step: 1, class: "da-slider", oninput: () => onEvery(Number(slider.value)) });
  const basis = el("select", { class: "da-select", onchange: () => onFit(basis.value) });
  const basisField = el("label", { class: "da-field" }, el("span", {}, "Basis"), basis);
  const controls = el(
    "div",
    { class: "da-controls" },
    el("label", { class: "da-field" }, el("span", {}, "Thumbnails"), slider, count),
    basisField,
    el("button", { type: "button", class: "da-button da-home", title: "Turn the view back to where it began", onclick: onHome }, "Home"),
  );
  const caption = el("p", { class: "da-caption da-view-caption" });
  const node = el("div", { class: "da-bar" }, list, controls);
  let told = "";
  let offered = "";

  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const tab = tabs[(to + tabs.length) % tabs.length];
    tab.focus();
    onView(tab.dataset.view);
  });

  function update(state) {
    for (const tab of tabs) {
      const chosen = tab.dataset.view === state.view;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    const space = SPACES.includes(state.view);
    controls.hidden = !space;
    if (document.activeElement !== slider) slider.value = state.every;
    const thumbnails = state.every === 0 ? "none" : state.every === 1 ? "every step" : `every ${state.every}`;
    if (count.textContent !== thumbnails) count.textContent = thumbnails;
    slider.setAttribute("aria-valuetext", thumbnails);
    const layers = state.layers.filter((layer) => layer.data !== state.live);
    basisField.hidden = state.view !== "pca" || layers.length < 2 || state.live?.run != null;
    const options = [["all", "all visible layers"], ...layers.map(({ id, name }) => [id, `fitted on ${name}`])];
    const next = JSON.stringify(options);
    if (next !== offered) {
      offered = next;
      basis.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
    }
    basis.value = state.fit;
    const words = own(state) ?? explain(state, layers.length);
    if (words !== told) {
      told = words;
      caption.replaceChildren(...withTerms(words));
    }
  }

  return { node, caption, update };
}

function explain({ view, fit }, layers) {
  switch (view) {
    case "pca":
      if (layers < 2) return "The {latents|latents} after every step, along the three directions in which they vary most ({pca|PCA}), with one scale on all axes; the line joins these states, whatever happened between them. Drag to turn; choose a thumbnail to open its step.";
      return fit === "all"
        ? "All visible paths in one {common_basis|common basis}, fitted on them together: how near they are here is how near their {latents|latents} are, as far as three axes of {pca|PCA} can tell."
        : "The axes are those of one layer ({pca|PCA}). The others are projected into them, and what they do outside of them is not seen.";
    case "umap":
      return "{umap|UMAP} keeps neighbours together and lets go of the rest: how far apart two groups lie means little. Its seed is fixed, so it comes out the same each time.";
    case "curves":
      return "How far the {latents|latents} move in each step ({step_length|step length}), how far they still are from their end ({distance_to_end|distance to end}), and how hard {guidance|guidance} pulls ({guidance_norm|norm}, {guidance_angle|angle}).";
    default:
      return "Each frame is the model’s guess of the finished image at that step ({x0|x0}), with the numbers of its {latents|latents}. Choose one to open the step.";
  }
}
