// A visitor's layers as the server lists them. Its list is the truth; a change shows at once and gives way to the
// server's answer.

import { ask } from "../core/ask.js";

/**
 * Create the list. `calls` are the names of the server's functions, {list, edit}, and `asked` goes with each question;
 * `onTaken(infos, answer)` is told of every list that comes, `onChange()` of every change.
 */
export function createLayerList({ server, calls, asked = {}, onTaken, onChange }) {
  let infos = []; // LayerInfo, as the server gave them
  let edits = 0;
  let problem = null;

  /** Take in a list that has come, as `layers` of an answer. */
  function take(answer) {
    edits += 1;
    infos = answer.layers.map((info) => ({ ...info }));
    onTaken(infos, answer);
    onChange();
  }

  /** Ask for the list. Returns whether one came that nothing has overtaken. */
  async function refresh() {
    const ticket = ++edits;
    try {
      const answer = await ask(server, calls.list, asked);
      if (ticket !== edits) return false;
      take(answer);
      return true;
    } catch (error) {
      problem = error.message;
      onChange();
      return false;
    }
  }

  /** Change a layer, {action, id, name, visible}: at once here, and then as the server says. */
  async function edit(change) {
    const ticket = ++edits;
    problem = null;
    infos = foreseen(infos, change);
    onChange();
    try {
      const answer = await ask(server, calls.edit, { ...asked, ...change });
      if (ticket === edits) take(answer);
    } catch (error) {
      await refresh();
      problem = error.message;
      onChange();
    }
  }

  return {
    take,
    refresh,
    edit,
    all: () => infos,
    problem: () => problem,
    /** Keep those that pass a test. */
    keep(test) {
      infos = infos.filter(test);
    },
  };
}

// What a change will most likely come to. A lock waits for the server, which gives the colour.
function foreseen(infos, { action, id, name, visible }) {
  if (action === "reset") return [];
  if (action === "delete") return infos.filter((info) => info.id !== id);
  const changes = { rename: { name, label: name }, show: { visible } }[action] ?? {};
  return infos.map((info) => (info.id === id ? { ...info, ...changes } : info));
}
