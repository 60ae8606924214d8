// Keys of providers. What is typed goes to the server and out of the page: the page is told only whether there is a key.

import { ask } from "../core/ask.js";
import { el } from "../core/dom.js";
import { createPart } from "./settings_part.js";

export function createKeys(server) {
  const about = el("p", { class: "da-settings-note" });
  const list = el("div", { class: "da-keys" }, el("p", { class: "da-settings-note" }, "Looking…"));
  const { node, say } = createPart("Keys", about, list);
  const drawn = new Map(); // id of a provider -> its row

  async function look() {
    try {
      draw(await ask(server, "settings_keys", {}));
      say();
    } catch (error) {
      say(error.message);
    }
  }

  function draw({ keys, about: words }) {
    about.textContent = words;
    for (const key of keys) {
      if (!drawn.has(key.id)) drawn.set(key.id, createRow(key));
      drawn.get(key.id).update(key);
    }
    list.replaceChildren(...keys.map(({ id }) => drawn.get(id).node));
  }

  function createRow({ id, name, host, keys_page: page, variable }) {
    const has = el("p", { class: "da-key-has" });
    const count = el("p", { class: "da-settings-note", hidden: true });
    const words = el("p", { class: "da-key-words", role: "status", hidden: true });
    const box = el("input", { type: "password", autocomplete: "off", spellcheck: "false", "aria-label": `Key for ${name}`, placeholder: `Key for ${name}` });
    const keep = el("button", { type: "submit", class: "da-button" }, "Use this key");
    const check = el("button", { type: "button", class: "da-button", onclick: () => test() }, "Check key");
    const forget = el("button", { type: "button", class: "da-button", onclick: () => act("key_forget", { provider: id }, "Forgotten.") }, "Forget");
    const where = el("p", { class: "da-settings-note" }, `Goes to ${host} alone. `, el("a", { href: page, target: "_blank", rel: "noopener noreferrer" }, "Make a key"));
    const form = el("form", { onsubmit: put }, box, keep);
    const row = el("div", { class: "da-key", "data-provider": id }, el("h3", {}, name), has, count, form, el("div", { class: "da-key-acts" }, check, forget), where, words);

    function update({ source, made }) {
      row.dataset.source = source;
      has.textContent = source === "typed" ? "A key that you typed, for this visit." : source === "environment" ? `A key of the environment (${variable}).` : "No key.";
      count.textContent = made;
      count.hidden = !made;
      forget.disabled = source !== "typed";
      check.disabled = source === "none";
    }

    function tell(text = "", wrong = false) {
      words.textContent = text;
      words.hidden = !text;
      words.classList.toggle("da-key-wrong", wrong);
    }

    function put(event) {
      event.preventDefault();
      const key = box.value;
      // It is in no field any more, whatever the server says.
      box.value = "";
      act("key_put", { provider: id, key }, "Taken, and kept for this visit. Check key asks the provider.");
    }

    async function act(call, asked, done) {
      tell();
      try {
        draw(await ask(server, call, asked));
        tell(done);
      } catch (error) {
        tell(error.message, true);
      }
      window.dispatchEvent(new Event("diffatlas-status"));
    }

    async function test() {
      tell(`Asking ${name}…`);
      check.disabled = true;
      try {
        const { taken, words: said } = await ask(server, "key_check", { provider: id });
        tell(said, !taken);
      } catch (error) {
        tell(error.message, true);
      }
      check.disabled = row.dataset.source === "none";
    }

    return { node: row, update };
  }

  return { node, look };
}
