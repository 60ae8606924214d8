// What a hosted run shows in place of its path, its film and its attention: that there are none, and what is known.

import { el } from "../core/dom.js";

const WIDE = "(min-width: 900px)";

/** Create it. `update(run)` takes a run as run_view.py tells it, or null; it is in sight only for a hosted one. */
export function createHostedFinding() {
  const node = el("section", { class: "da-hosted", "aria-label": "What the provider shows", hidden: "" });
  let drawn = "";

  function update(run) {
    const hosted = run?.hosted ?? null;
    const next = JSON.stringify(hosted);
    if (next === drawn) return;
    drawn = next;
    node.hidden = !hosted;
    node.replaceChildren(...(hosted ? parts(hosted) : []));
  }

  return { node, update };
}

function parts({ provider, why, sent, ignored, told }) {
  const lists = [table("Sent", sent), told.length ? table(`${provider} says`, told) : null];
  return [
    el("p", { class: "da-hosted-why" }, why),
    ...ignored.map((sentence) => el("p", { dir: "auto" }, sentence)),
    // Beneath each other they would push the picture out of sight.
    el(
      "details",
      { open: window.matchMedia(WIDE).matches ? "" : null },
      el("summary", {}, told.length ? `What was sent, and what ${provider} says` : "What was sent"),
      el("div", { class: "da-hosted-lists" }, ...lists.filter(Boolean)),
    ),
  ];
}

function table(title, pairs) {
  const rows = pairs.flatMap(([name, words]) => [el("dt", { dir: "auto" }, name), el("dd", { dir: "auto" }, words)]);
  return el("div", {}, el("h3", {}, title), el("dl", { class: "da-numbers" }, ...rows));
}
