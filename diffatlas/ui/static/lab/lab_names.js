// Words of the 2D Lab, as the page says them.

export const OBJECTIVES = [["v", "v"], ["eps", "noise (ε)"], ["x0", "clean point (x₀)"], ["flow", "flow (ε − x₀)"]];
export const SCHEDULES = [["cosine", "cosine, T = 1000"], ["linear", "linear β, T = 1000"], ["scaled_linear", "scaled linear (SD), T = 1000"], ["straight", "straight path (flow)"]];
export const SAMPLERS = [["heun", "Heun (EDM)"], ["ddim", "DDIM"], ["ddpm", "DDPM, all 1,000 steps"], ["dpmpp_2m", "DPM-Solver++ 2M"], ["euler", "Euler"], ["midpoint", "Midpoint"]];
export const SHORT = { heun: "Heun", ddim: "DDIM", ddpm: "DDPM", dpmpp_2m: "DPM++ 2M", euler: "Euler", midpoint: "Midpoint", floor: "noise floor" };
export const FIELDS = [["learned", "learned"], ["exact", "exact"], ["empirical", "of the training points"]];
export const QUANTITIES = [["score", "score"], ["eps", "noise (ε)"], ["x0", "clean point (x₀)"], ["v", "v"], ["flow", "flow"]];
export const FIELD_NAMES = { learned: "Learned", exact: "Exact", empirical: "Training points" };

/** How often a sampler calls the denoiser. */
export function callsOf(sampler, steps) {
  return { ddpm: 1000, heun: 2 * steps - 1, midpoint: 2 * steps }[sampler] ?? steps;
}

/** Options for the class of a lab: all of them, none, or one. */
export function classOptions(lab, { all = true } = {}) {
  const one = (lab?.classes ?? []).map((name, k) => [String(k), `class ${name}`]);
  return [...(all ? [["all", "all"]] : []), ["none", "without class"], ...one];
}

/** The class of a form's field, as the server takes it. */
export const classOf = (value) => (value === "all" || value === "none" ? value : Number(value));
