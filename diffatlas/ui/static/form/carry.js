// What is typed in one page's form goes along to the others, and comes back after a reload.
//
// Only what the visitor changed is carried: the pages begin with examples of their own. What was typed last in a field
// counts, wherever that was. A form is filled here in the browser, in one go with looking at what it holds: an answer of
// the server's would come later, over what was typed meanwhile.

import { currentPage } from "../core/pages.js";
import { remember, remembered } from "../core/remember.js";

const PREFIXES = { trajectory: "field", sweep: "sweep", neighbourhood: "neighbourhood", attention: "attention", bench: "bench" };
const FOLLOWED = ["backend", "model", "guidance_method"]; // what the server has to say something about
const KEY = "asked";

const SETTLED = 400; // ms without another letter
const AGAIN = 5000; // ms after which a form that was not filled is asked for again: a page that is loading loses events
const TRIES = 6;

let fields = []; // what all forms ask: {name, empties: whether it may be empty}
const ways = new Map(); // prefix of a form's ids -> a function that has it filled
let schedule = null;
let choose = () => false;

/** Let a form take part. `prefix` is that of its ids; `submit({carry})` makes the page call `diffatlasCarry`, and the
 * server say what belongs to the model and the method in `carry`; `request` are the fields of a request. */
export function initCarry(prefix, submit, request) {
  fields = request.filter((field) => !field.single);
  ways.set(prefix, submit);
  if (schedule) schedule();
  else begin();
}

/** Let all forms ask for these values, as if they had been typed. Whether there is a form that can. */
export const askEverywhere = (values) => choose(values);

/** Have the server say anew what all forms offer for the model that each asks for; what they hold stays. */
export function askAnew() {
  for (const [prefix, submit] of ways) submit({ carry: only(window.diffatlasForms?.[prefix] ?? {}, FOLLOWED) });
}

/** Whether forms have a field of this name. */
export const formsAsk = (name) => fields.some((field) => field.name === name);

function begin() {
  const query = new URLSearchParams(location.search);
  const linked = fields.some(({ name }) => query.has(name)) || query.has("run") || query.has("study");
  let asked = linked ? null : read();
  let timer = 0;
  const known = new Map(); // prefix -> what its form holds, or is about to
  const replaced = new Map(); // prefix -> what it held before it was filled: its fields change one after the other
  const due = new Set(); // prefixes of forms that are to be filled, though they may be in sight
  const filling = new Map(); // prefix that `submit` was called for -> the timer of the next try
  const typedHere = new Set(); // fields that were changed in the form in sight since it came into sight

  const inSight = () => PREFIXES[currentPage()];

  // Something was changed in a form, and not by filling it from here. `first`: it is the first that is heard of the form.
  function take(prefix, values, names, first = false) {
    const here = prefix === inSight();
    // Out of sight a form is filled by a link or the Library: with its own examples' values where those name none. What
    // it held before this script came was typed in, and the page turned since.
    const typed = here || (first && !linked);
    if (!typed && !asked) return;
    if (here) names.forEach((name) => typedHere.add(name));
    const last = here ? names : names.filter((name) => !typedHere.has(name));
    if (!last.length) return;
    asked = { ...(asked ?? values), ...Object.fromEntries(last.map((name) => [name, values[name]])) };
    remember(KEY, JSON.stringify(asked));
  }

  function hear(prefix) {
    if (!window.diffatlasForms?.[prefix]) return;
    const values = of(window.diffatlasForms[prefix]);
    const first = !known.has(prefix);
    const before = known.get(prefix) ?? of(window.diffatlasFirst[prefix]);
    const old = replaced.get(prefix);
    const changed = differing(values, before).filter((name) => !old || !same(values[name], old[name]));
    // While it is being filled, a field that is as it was is one that is still to come.
    known.set(prefix, old ? { ...before, ...only(values, changed) } : values);
    if (old && !differing(values, known.get(prefix)).length) replaced.delete(prefix);
    if (first) due.add(prefix);
    if (changed.length) take(prefix, values, changed, first);
    if (first || changed.length) schedule();
  }

  function spread() {
    timer = 0;
    if (!asked) return;
    for (const prefix of ways.keys()) {
      if (known.has(prefix) && (prefix !== inSight() || due.has(prefix))) fill(prefix);
    }
  }

  function fill(prefix, tries = TRIES) {
    due.delete(prefix);
    clearTimeout(filling.get(prefix));
    filling.delete(prefix);
    const missing = lacking(known.get(prefix));
    if (!missing.length) return;
    filling.set(prefix, tries > 1 ? setTimeout(fill, AGAIN, prefix, tries - 1) : 0);
    ways.get(prefix)({ carry: missing.some((name) => FOLLOWED.includes(name)) ? only(asked, FOLLOWED) : {} });
  }

  const lacking = (holds) => differing(asked, holds).filter((name) => asked[name] !== "" || fields.some((field) => field.name === name && field.empties));

  /** The values that the fields of these `names` are to take, in their order; `list`: what they hold; undefined leaves one alone. */
  window.diffatlasCarry = (prefix, names, list) => {
    const leave = list.map(() => undefined);
    if (!filling.has(prefix)) return leave;
    clearTimeout(filling.get(prefix));
    filling.delete(prefix);
    const values = of(Object.fromEntries(names.map((name, at) => [name, list[at]])));
    // What was typed here this very moment, and has not been heard of.
    const typed = prefix === inSight() && !replaced.has(prefix) ? differing(values, known.get(prefix)) : [];
    if (typed.length) take(prefix, values, typed);
    const missing = lacking(values);
    replaced.set(prefix, values);
    known.set(prefix, { ...values, ...only(asked, missing) });
    return names.map((name) => (missing.includes(name) ? asked[name] : undefined));
  };

  choose = (values) => {
    const [base] = asked ? [asked] : known.values();
    if (!base) return false;
    asked = of({ ...base, ...values });
    remember(KEY, JSON.stringify(asked));
    schedule();
    return true;
  };

  schedule = () => {
    clearTimeout(timer);
    timer = setTimeout(spread, SETTLED);
  };
  window.addEventListener("diffatlas-form", (event) => hear(event.detail));
  window.addEventListener("da-page", () => {
    typedHere.clear();
    if (inSight()) due.add(inSight());
    clearTimeout(timer);
    spread();
  });
  // What was typed before this module came, on whichever page that was.
  Object.values(PREFIXES).forEach(hear);
  schedule();
}

const of = (values) => Object.fromEntries(fields.map(({ name }) => [name, values[name] ?? ""]));
const only = (values, names) => Object.fromEntries(names.map((name) => [name, values[name]]));
const same = (a, b) => String(a) === String(b);
const differing = (values, others) => fields.map(({ name }) => name).filter((name) => !same(values[name], others[name]));

function read() {
  try {
    const found = JSON.parse(remembered(KEY, null, "null"));
    return found && typeof found === "object" ? of(found) : null;
  } catch {
    return null;
  }
}
