// Changing a line where it stands: a name that becomes a field, and a button that asks once more.

import { el } from "./dom.js";

const SURE_FOR = 3000; // ms in which a second press counts

/**
 * A function that puts a text field in the place of `node`, which shows a name, until the name is given or Escape.
 * `label` and `most` (characters) are the field's; `read()` returns the name now, `onName(next)` is told of another.
 */
export function createRename(node, { label, most, read, onName }) {
  let input = null;

  function close(save) {
    if (!input) return;
    const typed = input.value.trim();
    const focused = document.activeElement === input;
    const old = input;
    // First: taking the field away blurs it, which would close it once more.
    input = null;
    old.replaceWith(node);
    if (focused) node.focus();
    if (save && typed && typed !== read()) onName(typed);
  }

  return () => {
    if (input) return;
    input = el("input", { type: "text", class: "da-name-input", maxlength: most, "aria-label": label });
    input.value = read();
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") close(true);
      if (event.key === "Escape") close(false);
    });
    input.addEventListener("blur", () => close(true));
    node.replaceWith(input);
    input.focus();
    input.select();
  };
}

/**
 * Let `button`, which says `text`, ask `question` first and `act` on a second press; where `needed()` is false the
 * first press acts. Returns calm(), which takes the question back, and label(text) for screen readers.
 */
export function twice(button, text, question, act, needed = () => true) {
  let timer = 0;
  let label = null;

  function calm() {
    clearTimeout(timer);
    timer = 0;
    say(text);
    button.classList.remove("da-sure");
    if (label) button.setAttribute("aria-label", label);
  }

  function say(words) {
    if (button.textContent !== words) button.textContent = words;
  }

  button.addEventListener("click", () => {
    if (timer || !needed()) {
      calm();
      act();
      return;
    }
    say(question);
    button.classList.add("da-sure");
    // The question is what is heard now, not the label.
    button.removeAttribute("aria-label");
    timer = setTimeout(calm, SURE_FOR);
  });
  say(text);
  return {
    calm,
    label(next) {
      label = next;
      if (!timer) button.setAttribute("aria-label", label);
    },
  };
}
