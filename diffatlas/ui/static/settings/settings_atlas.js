// Another Atlas that models can run at: its address, which this browser keeps, and the token for it, which the page sends
// to the server and keeps nowhere.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { askAnew } from "../form/carry.js";
import { createPart, labelled } from "./settings_part.js";

const KEPT = "diffatlas-atlas"; // the address, in this browser
const TOKENS = { typed: "A token that you typed, for this visit.", environment: "A token of the environment (DIFFATLAS_REMOTE_TOKEN).", none: "No token." };

export function createAtlas(server) {
  const about = el("p", { class: "da-settings-note" });
  const closed = el("p", { hidden: true });
  const address = el("input", { type: "text", inputmode: "url", spellcheck: "false", autocomplete: "off", placeholder: "https://192.168.1.5:7861" });
  const where = el("form", { class: "da-atlas-address", onsubmit: use }, labelled("Address", address), el("button", { type: "submit", class: "da-button" }, "Use this address"));
  const warning = el("p", { class: "da-settings-note", hidden: true });
  const has = el("p", { class: "da-key-has" });
  const box = el("input", { type: "password", autocomplete: "off", spellcheck: "false", "aria-label": "Token for another Atlas", placeholder: "Token" });
  const put = el("form", { onsubmit: give }, box, el("button", { type: "submit", class: "da-button" }, "Use this token"));
  const check = el("button", { type: "button", class: "da-button", onclick: () => test() }, "Check");
  const forget = el("button", { type: "button", class: "da-button", onclick: () => act("atlas_forget", {}, "Forgotten.") }, "Forget the token");
  const words = el("p", { class: "da-key-words", role: "status", hidden: true });
  const open = el("div", { class: "da-key da-atlas" }, where, warning, has, put, el("div", { class: "da-key-acts" }, check, forget), words);
  const { node, say } = createPart("Another Atlas", about, closed, open);
  let offered = null; // whether the forms offer it, as far as they know

  async function look() {
    try {
      draw(await ask(server, "atlas", {}));
      say();
    } catch (error) {
      say(error.message);
    }
  }

  function draw({ address: url, typed, token, closed: why, offered: now, warning: beware, about: text }) {
    about.textContent = text;
    about.hidden = Boolean(why);
    closed.textContent = why;
    closed.hidden = !why;
    open.hidden = Boolean(why);
    if (document.activeElement !== address) address.value = typed ? url : "";
    address.placeholder = !typed && url ? `${url}, of the environment` : "https://192.168.1.5:7861";
    warning.textContent = beware;
    warning.hidden = !beware;
    has.textContent = TOKENS[token];
    open.dataset.token = token;
    check.disabled = !now;
    box.disabled = !url;
    put.querySelector("button").disabled = !url;
    forget.disabled = token !== "typed";
    if (offered !== null && offered !== now) askAnew();
    offered = now;
  }

  function tell(text = "", wrong = false) {
    words.textContent = text;
    words.hidden = !text;
    words.classList.toggle("da-key-wrong", wrong);
  }

  async function use(event) {
    event.preventDefault();
    const wanted = address.value.trim();
    address.blur();
    if (!(await act("atlas_address", { address: wanted }, wanted ? "Taken. Check asks what it offers." : "No address of yours any more."))) return;
    keep(wanted);
    if (wanted) test();
  }

  function give(event) {
    event.preventDefault();
    const token = box.value;
    // It is in no field any more, whatever the server says.
    box.value = "";
    act("atlas_token", { token }, "Taken, and kept for this visit. Check asks the other Atlas.");
  }

  async function act(call, asked, done) {
    tell();
    try {
      draw(await ask(server, call, asked));
      tell(done);
      return true;
    } catch (error) {
      tell(error.message, true);
      return false;
    } finally {
      changed();
    }
  }

  async function test() {
    tell("Asking the other Atlas…");
    check.disabled = true;
    try {
      const { taken, words: said } = await ask(server, "atlas_check", {});
      tell(said, !taken);
    } catch (error) {
      tell(error.message, true);
    }
    check.disabled = !offered;
    changed();
  }

  /** The address that this browser keeps, where the server knows of none: it has been started anew. */
  async function again() {
    const kept = read();
    if (!kept) return;
    try {
      const told = await ask(server, "atlas", {});
      offered = told.offered;
      if (!told.closed && !told.typed) draw(await ask(server, "atlas_address", { address: kept }));
    } catch (error) {
      console.warn("atlas", error);
    }
  }

  again();
  return { node, look };
}

function changed() {
  window.dispatchEvent(new Event("diffatlas-places"));
  window.dispatchEvent(new Event("diffatlas-status"));
}

function read() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function keep(address) {
  try {
    if (address) localStorage.setItem(KEPT, address);
    else localStorage.removeItem(KEPT);
  } catch {
    // A browser that keeps nothing asks for the address at each start of the server.
  }
}
