// Lessons that drive the page: something is said, something is asked, and then it is shown.

import { el, reducedMotion } from "../core/dom.js";
import { LESSONS } from "./lab_lesson_list.js";

/** Create the lessons of these ids, in their order, over `page`, whose functions lab.js lists. */
export function createLessons({ page, ids, onShow }) {
  const lessons = ids.map((id) => LESSONS.find((lesson) => lesson.id === id));
  const list = el("ul", { class: "da-lab-lessons" }, ...lessons.map((lesson) => el("li", {}, el("button", { type: "button", class: "da-lab-lesson-pick", "data-lesson": lesson.id, onclick: () => begin(lesson) }, el("strong", {}, lesson.title), el("span", {}, lesson.about)))));
  const menu = el("details", { class: "da-lab-fold da-lab-lesson-menu", hidden: !lessons.length }, el("summary", {}, `Lessons (${lessons.length})`), list);
  const head = el("p", { class: "da-lab-lesson-head" });
  const text = el("p", { class: "da-lab-lesson-text", "aria-live": "polite" });
  const choices = el("div", { class: "da-lab-choices" });
  const shown = el("p", { class: "da-lab-lesson-shown", "aria-live": "polite" });
  const back = el("button", { type: "button", class: "da-plain", onclick: () => turn(at - 1) }, "Back");
  const next = el("button", { type: "button", class: "da-button", onclick: () => turn(at + 1) }, "Next");
  const leave = el("button", { type: "button", class: "da-plain", onclick: end }, "Leave the lesson");
  const card = el("section", { class: "da-lab-lesson", "aria-label": "Lesson", hidden: "" }, head, text, choices, shown, el("div", { class: "da-lab-buttons" }, next, back, leave));
  let lesson = null;
  let at = 0;
  let turnNumber = 0;

  function begin(chosen) {
    lesson = chosen;
    menu.open = false;
    card.hidden = false;
    onShow();
    card.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "nearest" });
    turn(0);
  }

  function end() {
    lesson = null;
    turnNumber += 1;
    card.hidden = true;
    onShow();
  }

  async function turn(to) {
    if (to >= lesson.parts.length) return end();
    const mine = ++turnNumber;
    at = to;
    const part = lesson.parts[at];
    head.textContent = `${lesson.title} · ${at + 1} of ${lesson.parts.length}`;
    text.textContent = part.say ?? part.ask;
    shown.textContent = "";
    shown.classList.remove("da-failed");
    choices.replaceChildren(...(part.choices ?? []).map((label, k) => el("button", { type: "button", class: "da-button", onclick: () => answer(k) }, label)));
    back.disabled = at === 0;
    next.disabled = true;
    next.textContent = at === lesson.parts.length - 1 ? "End" : "Next";
    if (part.ask) return null;
    await tried(mine, () => part.act(page));
    if (mine === turnNumber) next.disabled = false;
    return null;
  }

  async function answer(k) {
    const mine = ++turnNumber;
    const part = lesson.parts[at];
    for (const [n, button] of [...choices.children].entries()) {
      button.disabled = true;
      button.setAttribute("aria-pressed", String(n === k));
    }
    shown.textContent = "Let us see…";
    const came = await tried(mine, () => part.show(page));
    if (mine !== turnNumber) return;
    if (came) {
      if (part.right !== null) choices.children[part.right].classList.add("da-right");
      shown.textContent = came;
    }
    next.disabled = false;
  }

  async function tried(mine, work) {
    try {
      return await work();
    } catch (error) {
      if (mine === turnNumber) {
        shown.textContent = `This could not be shown: ${error.message}`;
        shown.classList.add("da-failed");
      }
      return null;
    }
  }

  return { menu, card, active: () => lesson !== null };
}
