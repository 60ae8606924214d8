// The contact sheet of a study: lanes under each other, a row for each seed, a frame for each value. While a cell
// runs, its preview is in its frame.

import { el } from "../core/dom.js";
import { short, significant } from "../core/format.js";
import { waitText } from "../core/waits.js";
import { baselineOf, baselineWord, brief, captionOf, distancesOf, headOf, nameOf, noteOf, placeOf, told } from "../runs/study_words.js";

const SHORT = { hash: "hash", latent: "latent", image: "image", feature: "feature", start: "start" };
const ONE_LINE = 5; // frames that stand in one line on a wide page
// Under a frame there is room for some of the distances; the table below has all of them.
const NOTED = { sweep: ["hash", "latent", "image", "feature"], neighbourhood: ["start", "latent", "image"] };

/** Create the sheet in `root`. `onOpen(key)` enlarges a cell, `onRetry(keys)` runs cells once more. */
export function createGrid(root, { onOpen, onRetry }) {
  const box = el("div", { class: "da-strip da-contact" });
  const ghost = ghostSheet();
  const note = el("p", { class: "da-caption da-contact-note", hidden: "" });
  root.append(box, note);
  const cells = new Map(); // key -> what createCell returned
  let built = "";
  let heads = []; // {column, words} of the row of heads
  let reachable = null; // the one frame that Tab stops at; the arrow keys lead to the others

  box.addEventListener("click", (event) => {
    const key = event.target.closest("[data-cell]")?.dataset.cell;
    if (!key) return;
    if (event.target.closest(".da-cell-retry")) onRetry([key]);
    else if (event.target.closest(".da-frame")) onOpen(key);
  });
  box.addEventListener("focusin", (event) => {
    const key = event.target.closest(".da-frame") && event.target.closest("[data-cell]")?.dataset.cell;
    if (key) rove(key);
  });
  box.addEventListener("keydown", move);

  function update(state) {
    const { study } = state;
    if (!study) {
      built = "";
      cells.clear();
      box.dataset.mode = "grid";
      if (box.firstChild !== ghost) box.replaceChildren(ghost);
      note.hidden = true;
      return;
    }
    const key = JSON.stringify([study.id, study.lanes, study.rows, study.columns, study.cells.map((cell) => cell.key)]);
    if (key !== built) {
      built = key;
      build(study);
    }
    const baseline = baselineOf(state);
    for (const { column, words } of heads) say(words, headOf(state, column));
    for (const cell of study.cells) cells.get(cell.key)?.update(state, cell, cell.column === baseline);
    note.hidden = !state.unmeasured && !(state.measuring && !state.measures);
    const words = state.unmeasured ?? "Measuring how far the cells lie apart…";
    if (note.textContent !== words) note.textContent = words;
    note.classList.toggle("da-problem", Boolean(state.unmeasured));
  }

  // One long row wraps like a contact sheet, unless lanes are to be read column by column.
  function build(study) {
    const { lanes, rows, columns } = study;
    const alone = rows.length === 1 && lanes.length === 1;
    const wraps = columns.length > ONE_LINE && rows.length === 1 && (alone || study.operation === "neighbourhood");
    box.dataset.mode = wraps ? "wrap" : "grid";
    box.style.setProperty("--da-columns", columns.length);
    box.setAttribute("aria-label", `${study.title}, a frame for each cell`);
    cells.clear();
    reachable = null;
    heads = wraps || alone ? [] : columns.map((column) => ({ column, words: el("span", {}) }));
    const parts = heads.length ? [headRow(heads)] : [];
    for (const lane of lanes) {
      const sheet = el("div", { class: "da-contact-lane", role: "group", "aria-label": lanes.length > 1 ? lane.name : study.title });
      for (const row of rows) {
        const line = study.cells.filter((cell) => cell.lane === lane.key && cell.row === row.row).sort((a, b) => a.column - b.column);
        const made = line.map((cell) => createCell(cell, study, { own: alone || (wraps && lane === lanes[0]) }));
        line.forEach((cell, at) => cells.set(cell.key, made[at]));
        sheet.append(el("div", { class: "da-contact-row" }, leader(study, lane, row), ...made.map((cell) => cell.node)));
      }
      parts.push(sheet);
    }
    box.replaceChildren(...parts);
    const first = study.cells[0]?.key;
    if (first) rove(first);
  }

  function rove(key) {
    cells.get(reachable)?.reach(-1);
    cells.get(key)?.reach(0);
    reachable = key;
  }

  function move(event) {
    if (!event.target.matches(".da-frame") || event.ctrlKey || event.altKey || event.metaKey) return;
    const rows = [...box.querySelectorAll(".da-contact-row")].map((row) => [...row.querySelectorAll("button.da-frame")]).filter((row) => row.length);
    const r = rows.findIndex((row) => row.includes(event.target));
    if (r < 0) return;
    const c = rows[r].indexOf(event.target);
    const across = box.dataset.mode === "wrap" ? perLine(rows[r]) : 0;
    const to = {
      ArrowRight: () => rows[r][c + 1],
      ArrowLeft: () => rows[r][c - 1],
      Home: () => rows[r][0],
      End: () => rows[r].at(-1),
      ArrowDown: () => rows[r][across ? c + across : -1] ?? rows[r + 1]?.[Math.min(across ? c % across : c, rows[r + 1].length - 1)],
      ArrowUp: () => rows[r][across ? c - across : -1] ?? rows[r - 1]?.[Math.min(c, rows[r - 1].length - 1)],
    }[event.key]?.();
    if (!(event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    event.stopPropagation();
    to?.focus({ preventScroll: true });
    to?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Let the cells that wait say for how long now. */
  function tick() {
    for (const cell of cells.values()) cell.tick();
  }

  return { update, tick };
}

// How many frames stand beside each other before the line breaks.
function perLine(frames) {
  const top = frames[0].getBoundingClientRect().top;
  const broken = frames.findIndex((frame) => frame.getBoundingClientRect().top > top + 4);
  return broken < 0 ? frames.length : Math.max(1, Math.round(frames.length > broken ? nextLine(frames, broken) : broken));
}

// The first line holds the leader, so the second one tells how many there are.
function nextLine(frames, broken) {
  const top = frames[broken].getBoundingClientRect().top;
  const end = frames.findIndex((frame, at) => at > broken && frame.getBoundingClientRect().top > top + 4);
  return end < 0 ? frames.length - broken : end - broken;
}

function headRow(heads) {
  const head = ({ column, words }) => el("div", { class: "da-contact-head" }, el("strong", {}, column.label), words);
  return el("div", { class: "da-contact-row da-contact-heads" }, el("div", { class: "da-contact-corner" }), ...heads.map(head));
}

function leader(study, lane, row) {
  const several = study.lanes.length > 1;
  const { params = {} } = study.cells.find((cell) => cell.lane === lane.key && cell.row === row.row) ?? {};
  const seed = `seed ${row.seed}`;
  const swept = study.spec?.field;
  const says = (field) => swept !== field && !lane.not_sent.includes(field);
  // What all frames of the row have in common.
  const facts = [
    several && swept !== "seed" ? seed : null,
    params.model,
    swept === "scheduler" ? null : params.scheduler,
    !says("num_inference_steps") ? null : `${params.num_inference_steps} steps`,
    !says("guidance_scale") ? null : `g ${short(params.guidance_scale)}`,
  ];
  const title = several ? lane.name : swept === "seed" ? (params.prompt ?? "") : seed;
  const told = facts.filter((fact) => fact && fact !== title).map((fact) => el("span", {}, fact));
  return el("div", { class: "da-contact-cell da-contact-leader" }, el("div", { class: "da-cell da-leader" }, el("strong", { class: "da-leader-name", title }, title), ...told));
}

/** One frame with its edge print, and the notes under it. */
function createCell(cell, study, { own }) {
  const edge = () => el("span", { class: "da-edge" }, el("span", {}), el("span", {}));
  const above = edge();
  const below = edge();
  const shot = el("span", { class: "da-shot" });
  const progress = el("span", { class: "da-shot-progress", hidden: "" }, el("i"));
  const frame = el("button", { type: "button", class: "da-frame", tabindex: -1 }, above, shot, below);
  const caption = el("p", { class: "da-cell-caption" });
  const how = el("p", { class: "da-cell-how" });
  const why = el("p", { class: "da-cell-why" });
  const retry = el("button", { type: "button", class: "da-plain da-cell-retry" }, "Retry");
  const numbers = el("dl", { class: "da-cell-numbers" });
  const notes = el("div", { class: "da-cell-notes" }, caption, how, why, retry, numbers);
  const node = el("div", { class: "da-contact-cell", "data-cell": cell.key }, el("div", { class: "da-cell" }, frame), notes);
  const number = study.columns.findIndex(({ column }) => column === cell.column) + 1;
  const name = nameOf(study, cell);
  let drawn = "";
  let listed = "";
  let wait = null; // what it waits for
  print(above, `▸${number}`, cell.label);
  retry.setAttribute("aria-label", `Retry ${name}`);

  function update(state, of, baseline) {
    const now = told(state.cells, of.key);
    const { status, step, total, error } = now;
    node.dataset.status = status;
    node.classList.toggle("da-baseline", baseline);
    frame.classList.toggle("da-chosen", state.cell === of.key);
    picture(now);
    print(below, stepText(now), baseline ? baselineWord(state.study) : now.seconds === null || now.seconds === undefined ? "" : `${short(now.seconds, 2)} s`);
    progress.hidden = status !== "running";
    progress.firstChild.style.width = `${total ? (100 * step) / total : 0}%`;
    const opens = Boolean(now.run || now.image);
    frame.setAttribute("aria-disabled", String(!opens));
    frame.setAttribute("aria-label", [name, baseline ? baselineWord(state.study) : null, spoken(now), captionOf(state, of)].filter(Boolean).join(", "));
    say(caption, own ? captionOf(state, of) : noteOf(state, of));
    if (caption.title !== captionOf(state, of)) caption.title = captionOf(state, of);
    ({ wait } = now);
    say(how, waitText(wait) || howText(now));
    say(why, status === "failed" ? (error?.message ?? "This cell failed.") : "");
    retry.hidden = state.busy || !["failed", "stopped"].includes(status);
    measure(state, of, baseline);
  }

  function picture({ status, image, preview }) {
    const source = status === "complete" ? (image ?? preview) : preview;
    const key = `${status} ${source}`;
    if (key === drawn) return;
    drawn = key;
    const held = shot.querySelector("img");
    if (source) {
      const img = held ?? el("img", { alt: "", draggable: "false", decoding: "async", loading: "lazy" });
      img.src = source;
      shot.replaceChildren(img, progress);
    } else {
      shot.replaceChildren(...(status === "failed" ? [el("span", { class: "da-shot-word" }, "Failed")] : []), progress);
    }
    shot.classList.toggle("da-unexposed", !source);
    shot.classList.toggle("da-exposing", status === "running" && !source);
  }

  function measure(state, of, baseline) {
    // The baseline lies at no distance from itself.
    const known = told(state.cells, of.key).status === "complete" && !baseline ? distancesOf(state, of) : [];
    const { basin, shows } = placeOf(state, of);
    const rows = known.filter(({ key }) => NOTED[state.operation].includes(key)).map(({ key, label, value }) => [SHORT[key] ?? label, brief(value), `${label}: ${significant(value)}`]);
    if (basin) rows.push(["basin", String(basin), `Basin ${basin}`]);
    const key = JSON.stringify([rows, shows]);
    if (key === listed) return;
    listed = key;
    numbers.replaceChildren(
      ...(shows ? [el("div", { class: "da-cell-shows" }, el("dt", {}, "shows"), el("dd", {}, shows))] : []),
      ...rows.map(([label, text, title]) => el("div", { title }, el("dt", {}, label), el("dd", {}, text))),
    );
  }

  function tick() {
    if (wait) say(how, waitText(wait));
  }

  return { node, update, tick, reach: (index) => (frame.tabIndex = index) };
}

function stepText({ status, step, total, run }) {
  switch (status) {
    case "running":
      return total ? `step ${step}/${total}` : run ? "under way" : "begins";
    case "complete":
      return total ? `${total} steps` : "";
    case "stopped":
      return total ? `${step} of ${total}` : "stopped";
    case "failed":
      return step ? `at step ${step}` : "failed";
    default:
      return "";
  }
}

function howText({ status, cached, batched }) {
  if (status === "stopped") return "stopped";
  if (status !== "complete") return "";
  return cached ? "from the library" : batched ? "in a batch" : "";
}

function spoken({ status, step, total }) {
  if (status === "running" && total) return `running, step ${step} of ${total}`;
  return status;
}

function print(edge, left, right) {
  if (edge.children[0].textContent !== left) edge.children[0].textContent = left;
  if (edge.children[1].textContent !== right) edge.children[1].textContent = right;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}

// What the sheet will look like, before there is one.
function ghostSheet() {
  const blank = () => el("div", { class: "da-contact-cell" }, el("div", { class: "da-cell" }, el("div", { class: "da-unexposed" })));
  const name = el("div", { class: "da-cell da-leader" }, el("strong", { class: "da-leader-name" }, "Diffusion Atlas"), el("span", {}, "unexposed"));
  const row = el("div", { class: "da-contact-row" }, el("div", { class: "da-contact-cell da-contact-leader" }, name), ...Array.from({ length: 5 }, blank));
  return el("div", { class: "da-contact-lane da-contact-ghost", style: "--da-columns: 5", "aria-hidden": "true" }, row);
}
