// What the 2D Lab knows, and its calls to the server. One lab at a time: a target with a network.

import { ask } from "../core/ask.js";
import { follow } from "../core/jobs.js";
import { askedOf, networkOf } from "./lab_asked.js";
import { decodeShorts } from "./lab_canvas.js";
import { decodeFloats } from "../core/state.js";

const EVERY = 250; // ms between two looks at a training
const ALIVE_EVERY = 5000; // ms between two signs that the page still waits for a sampling
const SAMPLES_EVERY = 600; // ms between two clouds of it

/** Create the store. `onChange(state)` is called when anything has changed. */
export function createLabStore({ server, onChange }) {
  let state = {
    presets: null, // [{name, points, labels}]
    defaults: null, // the recipe's
    far: 8,
    extent: 2.5,
    lab: null, // as lab_services describes it, with target.points decoded
    busy: "", // what is being waited for
    problem: null, // {message, field, form, anyway}: `anyway` where it may be asked for all the same
    status: "idle",
    step: 0,
    rate: 0,
    ahead: 0,
    wait: "",
    losses: [], // [[step, loss]]
    recent: null, // the mean loss of the last steps
    floor: null,
    live: null, // {points, labels} while it trains
    frames: null,
    sampling: null, // what is asked of the sampler
    path: null, // {start, learned, exact}
    density: null, // {cells, maps: [Float32Array]} of the frames
    drawing: null, // {points, labels, label, width} while a target is drawn
    field: null,
    revision: 0, // rises when the weights have changed for good
    kept: null, // under which id the network is kept
    unkept: "", // why it is not, where it should be
    aside: null, // {name, kind, kept or lab, problem}: what was in view before, and where it is now
  };
  let asking = 0; // the newest question of each kind counts
  let watching = 0;
  let reviving = null;

  const get = () => state;
  function set(patch) {
    state = { ...state, ...patch };
    onChange(state);
  }

  async function call(name, asked) {
    const { lab } = state;
    const id = lab?.lab;
    try {
      return await ask(server, name, { lab: id, ...asked });
    } catch (error) {
      if (error.field !== "lab" || !lab || state.lab !== lab) throw error;
      // The server has dropped it, or was started anew. Another question may have brought it back meanwhile.
      if (lab.lab === id) await (reviving ??= revive(lab, error).finally(() => (reviving = null)));
      return ask(server, name, { lab: lab.lab, ...asked });
    }
  }

  // The lab as it was: what was kept of it, or what it began with where it has not been trained since.
  async function revive(lab, error) {
    const { kept, step, frames } = state;
    if (!kept && (step !== lab.step || lab.origin === "file")) throw error;
    const got = kept ? await ask(server, "lab_return", { kept }) : await ask(server, "lab_begin", { target: lab.source, recipe: lab.recipe, pretrained: lab.origin === "pretrained" });
    lab.lab = got.lab;
    if (frames) await ask(server, "lab_sample", { lab: lab.lab, ...frames.asked });
    if (got.step !== step && state.lab === lab) set({ step: got.step, revision: state.revision + 1 });
  }

  // `form` is the one whose field may be at fault: "network" or "sampling".
  function fail(error, form = "network") {
    set({ busy: "", problem: { message: error.message, field: error.field ?? null, form, anyway: error.anyway ?? false } });
  }

  async function load() {
    const { presets, recipe, far, extent } = await ask(server, "lab_presets", {});
    set({ defaults: recipe, far, extent, presets: presets.map((preset) => ({ ...preset, points: decodeShorts(preset.points, far) })) });
  }

  function take(described) {
    watching += 1;
    const points = decodeShorts(described.target.points, described.far);
    const lab = { ...described, sigmas: decodeFloats(described.sigmas), target: { points, labels: described.target.labels } };
    set({ lab, busy: "", problem: null, status: "idle", step: lab.step, rate: 0, losses: [], recent: null, floor: null, live: null, frames: null, path: null, density: null, drawing: null, field: null, revision: state.revision + 1, kept: lab.kept, unkept: lab.unkept, aside: lab.aside ?? still(lab) });
    return lab;
  }

  // What was put aside before, unless it is this.
  function still(lab) {
    const { aside } = state;
    return aside && (aside.lab ? aside.lab === lab.lab : aside.kept === lab.kept) ? null : aside;
  }

  /** Another target or other weights. `target` as the server takes it; `pretrained`, or a `recipe` from scratch. */
  async function begin({ target, recipe = null, pretrained = false }) {
    set({ busy: "Preparing the target…", problem: null });
    try {
      return take(await ask(server, "lab_begin", { target, recipe, pretrained, instead: state.lab?.lab ?? null }));
    } catch (error) {
      fail(error);
      return null;
    }
  }

  async function open(text) {
    set({ busy: "Opening the lab…", problem: null });
    try {
      const described = await ask(server, "lab_open", { text, instead: state.lab?.lab ?? null });
      take(described);
      return described.view;
    } catch (error) {
      fail(error);
      return null;
    }
  }

  /** Go back to a network: {kept: id}, or {again: id} of a lab that is in memory. */
  async function back(which) {
    set({ busy: "Opening the network…", problem: null });
    try {
      return take(await ask(server, "lab_return", { ...which, instead: state.lab?.lab ?? null }));
    } catch (error) {
      fail(error);
      return null;
    }
  }

  /** Keep the network that could not be kept before. */
  async function keep() {
    try {
      const { kept, unkept } = await call("lab_keep", {});
      set({ kept, unkept });
    } catch (error) {
      fail(error);
    }
  }

  /** Train from scratch with a recipe, or on where it is null; resolves when the training has ended. */
  async function train(steps, recipe = null, anyway = false) {
    if (recipe && !(await begin({ target: state.lab.source, recipe }))) return false;
    try {
      await call("lab_train", { steps, anyway });
    } catch (error) {
      fail(error);
      return false;
    }
    set({ status: "waiting", frames: null, path: null, density: null, problem: null });
    return watch();
  }

  async function stop() {
    try {
      await call("lab_stop", {});
    } catch (error) {
      fail(error);
    }
  }

  async function watch() {
    const mine = ++watching;
    let clouds = 0;
    let missed = 0;
    // Of an earlier training of the same lab the losses are here already.
    let since = Math.round(state.losses.length);
    while (mine === watching) {
      const samples = performance.now() - clouds > SAMPLES_EVERY;
      let seen = null;
      try {
        seen = await call("lab_watch", { since, samples });
        missed = 0;
      } catch (error) {
        if (error.field !== undefined || ++missed > 20) return fail(error);
      }
      if (mine !== watching) return false;
      if (seen) {
        if (seen.samples) clouds = performance.now();
        const more = seen.losses.map((loss, k) => [seen.first + (seen.since + k + 1) * seen.block, loss]);
        since = seen.since + more.length;
        const ended = !["waiting", "training"].includes(seen.status);
        set({
          status: seen.status,
          step: seen.step,
          rate: seen.rate,
          ahead: seen.ahead,
          wait: seen.wait,
          losses: [...state.losses, ...more],
          recent: seen.recent ?? state.recent,
          floor: seen.floor ?? state.floor,
          kept: seen.kept,
          unkept: seen.unkept,
          live: ended ? null : seen.samples ? { points: decodeShorts(seen.samples.points, state.far), labels: seen.samples.labels } : state.live,
          problem: seen.problem ? { message: seen.problem, field: "learning_rate", form: "network" } : state.problem,
          revision: ended ? state.revision + 1 : state.revision,
        });
        if (ended) return !seen.problem;
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
    return false;
  }

  /** Sample as `asked` says. */
  async function sample(asked, anyway = false) {
    const mine = ++asking;
    set({ sampling: asked, busy: "Sampling…", problem: null });
    const alive = setInterval(() => call("lab_alive", {}).catch(() => {}), ALIVE_EVERY);
    try {
      const told = { ...networkOf(state), ...askedOf(asked, state.lab) };
      const got = await call("lab_sample", { ...asked, mesh: true, anyway });
      if (mine !== asking) return null;
      const frames = { ...got, asked, told, points: decodeShorts(got.frames, state.far), mesh: got.mesh && decodeShorts(got.mesh, state.far), final: decodeFloats(got.final) };
      set({ frames, busy: "", live: null, density: null });
      return frames;
    } catch (error) {
      if (mine === asking) fail(error, "sampling");
      return null;
    } finally {
      clearInterval(alive);
    }
  }

  async function paths(start, asked) {
    const before = state.frames;
    try {
      const got = await call("lab_paths", { ...asked, start });
      if (state.frames === before) set({ path: { start, learned: decodeShorts(got.learned, state.far), exact: decodeShorts(got.exact, state.far) } });
    } catch (error) {
      fail(error, "sampling");
    }
  }

  async function densities(asked) {
    const { frames } = state;
    if (!frames) return;
    try {
      const got = await call("lab_density", { ...asked, sigmas: frames.sigmas, straight: frames.straight });
      const all = decodeShorts(got.maps, 1);
      const size = got.cells * got.cells;
      if (state.frames === frames) set({ density: { cells: got.cells, maps: frames.sigmas.map((_, k) => all.subarray(k * size, (k + 1) * size)) } });
    } catch (error) {
      fail(error, "sampling");
    }
  }

  /** Start a job and follow it; `onState` is told of each state. Returns its result, null where it was another lab's. */
  async function job(name, asked, onState, onJob = () => {}) {
    const { lab } = state;
    const started = await call(name, asked);
    onJob(started.job);
    const ended = await follow(server, "lab_job", started.job, { ended: ({ done }) => done, onState });
    return state.lab === lab ? ended.result : null;
  }

  return { get, set, call, load, begin, open, back, keep, train, stop, sample, paths, densities, job };
}
