// The line at the head of every page: what a run of the form in sight would run on, what runs and waits, and what to
// beware of.
//
// It asks when something may have changed: another page or form, a run that begins or ends, somebody who comes back. While
// something runs or waits it asks every few seconds, else not at all.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { initInvite } from "../core/invite.js";
import { currentPage, initPages, isHidden, showPage } from "../core/pages.js";
import { BUSY } from "../core/state.js";
import { plural } from "../runs/library_text.js";

const FORMS = { trajectory: "field", sweep: "sweep", neighbourhood: "neighbourhood", attention: "attention", bench: "bench" };
const SETTLED = 300; // ms without another change
const OFTEN = 2500; // ms between two questions while something runs
const UNDER_WAY = BUSY.map((status) => `.da-viewer[data-status=${status}]`).join();
const QUIET = 20_000; // ms after which somebody who moves again is told anew

/** Mount the line in `element`; `server` has status and invitation. */
export function mount(element, read, server) {
  initPages();
  initInvite(server);
  const facts = el("p", { class: "da-standing-facts" }, el("span", {}, "This machine"));
  const warnings = el("p", { class: "da-standing-warnings", role: "status" });
  element.querySelector(".da-mount").replaceChildren(el("div", { class: "da-standing" }, facts, warnings));
  let timer = 0;
  let ticket = 0;
  let asked = 0; // when it was asked last
  let warned = "";

  async function look() {
    clearTimeout(timer);
    if (document.hidden) return;
    const mine = ++ticket;
    asked = performance.now();
    const form = window.diffatlasForms?.[FORMS[currentPage()]] ?? {};
    try {
      const told = await ask(server, "status", { backend: String(form.backend ?? ""), model: String(form.model ?? "") });
      if (mine !== ticket) return;
      draw(told);
      // A run that was only just asked for may not be counted yet: the page itself knows of it.
      if (told.running || told.waiting || told.studies || told.jobs || document.querySelector(UNDER_WAY)) soon(OFTEN);
    } catch (error) {
      // The line is as it was: the next change asks again.
      console.warn("status", error);
    }
  }

  function soon(after = SETTLED) {
    clearTimeout(timer);
    timer = setTimeout(look, after);
  }

  function draw({ backend, model, device, running, waiting, studies, jobs, warnings: words }) {
    const under = [
      running || waiting || studies || jobs ? null : "nothing runs",
      running ? `${running} running` : null,
      waiting ? `${waiting} waiting` : null,
      studies ? plural(studies, "study of yours", "studies of yours") : null,
      jobs ? plural(jobs, "job of yours", "jobs of yours") : null,
    ];
    const said = [backend, model, device && el("code", {}, device), ...under.map((text) => text && el("code", {}, text))];
    facts.replaceChildren(...said.filter(Boolean).map((one) => (typeof one === "string" ? el("span", {}, one) : one)));
    const next = words.join(" ");
    if (next === warned) return;
    warned = next;
    const settings = el("button", { type: "button", class: "da-plain", onclick: () => showPage("settings") }, "Settings");
    warnings.replaceChildren(...(next ? [el("span", {}, next), " ", isHidden("settings") ? "" : settings] : []));
  }

  window.addEventListener("da-page", () => soon(0));
  window.addEventListener("diffatlas-form", () => soon());
  window.addEventListener("diffatlas-status", () => soon(0));
  document.addEventListener("visibilitychange", () => soon());
  document.addEventListener("pointerdown", () => performance.now() - asked > QUIET && soon());
  document.addEventListener("keydown", () => performance.now() - asked > QUIET && soon());
  // A view says what its run does.
  new MutationObserver((records) => {
    // Each step writes the status anew: what has not changed must not put the question off.
    if (records.some(({ target, oldValue }) => target.dataset.status !== oldValue)) soon();
  }).observe(document.body, { subtree: true, attributeFilter: ["data-status"], attributeOldValue: true });
  look();
}
